// {{name}}: decides which of the requests that contend for a pool's tapes go ahead.
//
// A pure function of the conflict set. `wit/resolver.wit` says what each field means.
// What is returned is freed by the bindings: each text is a copy of its own.

#include <stdlib.h>
#include <string.h>

#include "bindings/resolver.h"

typedef exports_tapemark_resolver_policy_conflict_set_t conflict_set_t;
typedef exports_tapemark_resolver_policy_decision_t decision_t;
typedef exports_tapemark_resolver_policy_resolver_error_t error_t;
typedef exports_tapemark_resolver_policy_resolver_info_t info_t;
typedef tapemark_resolver_types_action_t action_t;
typedef tapemark_resolver_types_request_t request_t;
typedef tapemark_resolver_types_verdict_t verdict_t;

// How long a request that does not fit waits before it is asked again.
#define RETRY_AFTER_MS 15000

// The latest deadline that an order can hold.
#define LATEST ((UINT64_C(1) << 48) - 1)

// Requests that are decided as one: all the same way.
typedef struct {
    resolver_string_t id;
    uint64_t order;
    uint64_t submitted_at;
    uint64_t bytes;
    bool settled;
    bool late;
    action_t action;
    const char *reason;
} group_t;

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL) abort();
    return memory;
}

static resolver_string_t copy(resolver_string_t from) {
    resolver_string_t to = {.ptr = allocate(from.len, 1), .len = from.len};
    memcpy(to.ptr, from.ptr, from.len);
    return to;
}

static resolver_string_t text(const char *from) {
    return copy((resolver_string_t){.ptr = (uint8_t *)from, .len = strlen(from)});
}

static int compare(resolver_string_t a, resolver_string_t b) {
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static bool same(resolver_string_t a, resolver_string_t b) {
    return compare(a, b) == 0;
}

static bool same_option(resolver_option_string_t a, resolver_option_string_t b) {
    return a.is_some == b.is_some && (!a.is_some || same(a.val, b.val));
}

// A place in line: lower goes first. By priority, then deadline.
static uint64_t order_of(const request_t *request) {
    uint64_t deadline = request->deadline.is_some ? request->deadline.val : LATEST;
    if (deadline > LATEST) deadline = LATEST;
    return ((uint64_t)(9 - request->priority) << 48) + deadline;
}

// Two successors of one parent in one lineage, with different content.
static bool forks(const request_t *a, const request_t *b) {
    return a->parent.is_some && same_option(a->parent, b->parent) &&
           same(a->service, b->service) && same_option(a->branch, b->branch) &&
           !same(a->content, b->content);
}

static group_t *group_of(group_t *groups, size_t count, resolver_string_t id) {
    for (size_t g = 0; g < count; g++)
        if (same(groups[g].id, id)) return &groups[g];
    return NULL;
}

static size_t collect(const conflict_set_t *set, group_t *groups) {
    size_t count = 0;
    for (size_t i = 0; i < set->requests.len; i++) {
        const request_t *request = &set->requests.ptr[i];
        group_t *group = group_of(groups, count, request->group);
        if (group == NULL) {
            group = &groups[count++];
            *group = (group_t){
                .id = request->group, .order = UINT64_MAX, .submitted_at = UINT64_MAX};
        }
        uint64_t order = order_of(request);
        if (order < group->order) group->order = order;
        if (request->submitted_at < group->submitted_at)
            group->submitted_at = request->submitted_at;
        group->bytes += request->bytes;
        group->settled |= request->settled;
        group->late |= request->deadline.is_some && request->deadline.val <= set->now;
    }
    return count;
}

static int by_order_then_age(const void *left, const void *right) {
    const group_t *a = left, *b = right;
    if (a->settled != b->settled) return a->settled ? -1 : 1;
    if (a->order != b->order) return a->order < b->order ? -1 : 1;
    if (a->submitted_at != b->submitted_at) return a->submitted_at < b->submitted_at ? -1 : 1;
    return compare(a->id, b->id);
}

// True where a member of the group forks from one of the `count` requests that go ahead.
static bool forks_of_ahead(const conflict_set_t *set, const group_t *group,
                           const request_t *const *ahead, size_t count) {
    for (size_t i = 0; i < set->requests.len; i++) {
        const request_t *member = &set->requests.ptr[i];
        if (!member->parent.is_some || !same(member->group, group->id)) continue;
        for (size_t a = 0; a < count; a++)
            if (forks(member, ahead[a])) return true;
    }
    return false;
}

static action_t reject(const char *code) {
    action_t action = {.tag = TAPEMARK_RESOLVER_TYPES_ACTION_REJECT};
    action.val.reject = (resolver_string_t){.ptr = (uint8_t *)code, .len = strlen(code)};
    return action;
}

// Decides the groups; the settled ones come first.
static void decide(const conflict_set_t *set, group_t *groups, size_t count) {
    const request_t **ahead = allocate(set->requests.len, sizeof *ahead);
    size_t ahead_count = 0;
    uint64_t free_bytes = 0;
    for (size_t v = 0; v < set->volumes.len; v++) free_bytes += set->volumes.ptr[v].free;
    for (size_t g = 0; g < count; g++) {
        group_t *group = &groups[g];
        if (!group->settled && group->late) {
            group->action = reject("Tapemark.DeadlineMissed");
            group->reason = "it is past its deadline";
        } else if (!group->settled && forks_of_ahead(set, group, ahead, ahead_count)) {
            group->action = reject("Tapemark.LineageFork");
            group->reason = "another request with the same parent goes ahead";
        } else if (!group->settled && group->bytes > free_bytes) {
            group->action.tag = TAPEMARK_RESOLVER_TYPES_ACTION_DEFER;
            group->action.val.defer = set->now + RETRY_AFTER_MS;
            group->reason = "no volume has room now";
        } else {
            if (!group->settled) free_bytes -= group->bytes;
            group->action.tag = TAPEMARK_RESOLVER_TYPES_ACTION_PROCEED;
            group->action.val.proceed = group->order;
            group->reason = group->settled ? "settled already" : "by priority, deadline and age";
            for (size_t i = 0; i < set->requests.len; i++)
                if (same(set->requests.ptr[i].group, group->id))
                    ahead[ahead_count++] = &set->requests.ptr[i];
        }
    }
    free(ahead);
}

void exports_tapemark_resolver_policy_describe(info_t *ret) {
    *ret = (info_t){
        .name = text("{{name}}"),
        .version = text("0.1.0"),
        .summary = text("By priority, then deadline, then age; forks are refused"),
    };
}

// True where it decides, false where it fills `err`.
bool exports_tapemark_resolver_policy_resolve(conflict_set_t *set, decision_t *ret,
                                              error_t *err) {
    (void)err;
    group_t *groups = allocate(set->requests.len, sizeof *groups);
    size_t count = collect(set, groups);
    qsort(groups, count, sizeof *groups, by_order_then_age);
    decide(set, groups, count);

    verdict_t *verdicts = allocate(set->requests.len, sizeof *verdicts);
    for (size_t i = 0; i < set->requests.len; i++) {
        const group_t *group = group_of(groups, count, set->requests.ptr[i].group);
        verdicts[i] = (verdict_t){
            .id = copy(set->requests.ptr[i].id),
            .action = group->action,
            .reason = text(group->reason),
        };
        if (group->action.tag == TAPEMARK_RESOLVER_TYPES_ACTION_REJECT)
            verdicts[i].action.val.reject = copy(group->action.val.reject);
    }
    *ret = (decision_t){
        .verdicts = {.ptr = verdicts, .len = set->requests.len},
        .reason = text("by priority, deadline and age"),
    };
    free(groups);
    return true;
}
