// Tests of the policy as a native program: `sh test.sh`. What is published is the
// component: `tapemark resolver test` tests that.

#include <stdio.h>

#include "policy.c"

#define NOW UINT64_C(1790000000000)
#define STRING(literal) {.ptr = (uint8_t *)(literal), .len = strlen(literal)}
#define SOME(value) {.is_some = true, .val = value}

static int failures;

static request_t request(const char *id, const char *group) {
    return (request_t){
        .id = STRING(id),
        .group = STRING(group),
        .service = STRING("billing"),
        .version = STRING("1.0.0"),
        .content = STRING(id),
        .bytes = 1000,
        .artifacts = 1,
        .priority = 5,
        .submitted_at = NOW - 1000,
        .retention = STRING("standard"),
    };
}

// Decides two requests and compares the tags of what becomes of them.
static void check(const char *what, request_t a, request_t b, uint64_t free_bytes,
                  int expected_a, int expected_b) {
    request_t requests[] = {a, b};
    tapemark_resolver_types_volume_t volume = {
        .barcode = STRING("TM0001L9"), .state = STRING("scratch"), .free = free_bytes};
    conflict_set_t set = {
        .now = NOW,
        .requests = {.ptr = requests, .len = 2},
        .volumes = {.ptr = &volume, .len = 1},
    };
    decision_t decision;
    error_t error;
    bool decided = exports_tapemark_resolver_policy_resolve(&set, &decision, &error);
    bool ok = decided && decision.verdicts.ptr[0].action.tag == expected_a &&
              decision.verdicts.ptr[1].action.tag == expected_b;
    printf("%s - %s\n", ok ? "ok" : "FAILED", what);
    failures += !ok;
}

int main(void) {
    enum {
        PROCEED = TAPEMARK_RESOLVER_TYPES_ACTION_PROCEED,
        DEFER = TAPEMARK_RESOLVER_TYPES_ACTION_DEFER,
        REJECT = TAPEMARK_RESOLVER_TYPES_ACTION_REJECT,
    };
    request_t a = request("a", "of a"), b = request("b", "of b");
    a.priority = 1;
    b.priority = 9;
    check("the more urgent one goes ahead where not both fit", a, b, 1500, DEFER, PROCEED);

    a = request("a", "of a"), b = request("b", "of b");
    a.deadline = (resolver_option_u64_t)SOME(NOW);
    b.deadline = (resolver_option_u64_t)SOME(NOW + 1);
    check("what is too late is refused", a, b, 1000000, REJECT, PROCEED);

    a = request("a", "of a"), b = request("b", "of b");
    a.parent = b.parent = (resolver_option_string_t)SOME(STRING("p"));
    check("of two successors of one parent the second is refused", a, b, 1000000, PROCEED,
          REJECT);

    a = request("a", "g"), b = request("b", "g");
    b.deadline = (resolver_option_u64_t)SOME(NOW);
    check("a group is decided as one", a, b, 1000000, REJECT, REJECT);
    return failures != 0;
}
