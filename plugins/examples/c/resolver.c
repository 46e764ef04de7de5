// Oldest deadline first, duplicates merged: the rules of ../README.md in C.
//
// A pure function of the conflict set. What is returned is freed by the bindings: each
// text is a copy of its own. The conflict set itself is never freed, because each decision
// runs in a fresh instance.

#include <stdlib.h>
#include <string.h>

#include "../../sdk-c/resolver.h"

typedef exports_tapemark_resolver_policy_conflict_set_t conflict_set_t;
typedef exports_tapemark_resolver_policy_decision_t decision_t;
typedef exports_tapemark_resolver_policy_resolver_error_t error_t;
typedef exports_tapemark_resolver_policy_resolver_info_t info_t;
typedef tapemark_resolver_types_request_t request_t;
typedef tapemark_resolver_types_verdict_t verdict_t;

enum {
    PROCEED = TAPEMARK_RESOLVER_TYPES_ACTION_PROCEED,
    SUPERSEDE = TAPEMARK_RESOLVER_TYPES_ACTION_SUPERSEDE,
    MERGE = TAPEMARK_RESOLVER_TYPES_ACTION_MERGE,
    DEFER = TAPEMARK_RESOLVER_TYPES_ACTION_DEFER,
    REJECT = TAPEMARK_RESOLVER_TYPES_ACTION_REJECT,
    OPEN = 255,
};

// How long a group that does not fit waits before it is asked again.
#define RETRY_AFTER_MS 15000

// The order of those that have no deadline.
#define LATEST ((UINT64_C(1) << 48) - 1)

#define LINEAGE_FORK "Tapemark.LineageFork"
#define DEADLINE_MISSED "Tapemark.DeadlineMissed"

// Requests that are decided as one.
typedef struct {
    resolver_string_t id;
    uint64_t submitted_at;  // of the member with the smallest id
    uint64_t order;
    uint64_t bytes;
    size_t members;
    bool settled;
    bool late;
    bool left;  // looked at by the rule at work, and left open

    uint8_t action;
    resolver_string_t other;  // the request that takes its place, or the code of a refusal
    uint64_t until;
    const char *reason;
} group_t;

// The conflict set, indexed.
typedef struct {
    const conflict_set_t *set;
    size_t requests;
    const request_t **request;  // sorted by id
    group_t **group;            // of each request
    size_t groups;
    group_t *by_age;  // oldest first
} state_t;

typedef bool (*where_t)(const group_t *);

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL) abort();
    return memory;
}

static resolver_string_t view(const char *from) {
    return (resolver_string_t){.ptr = (uint8_t *)from, .len = strlen(from)};
}

static resolver_string_t copy(resolver_string_t from) {
    resolver_string_t to = {.ptr = allocate(from.len, 1), .len = from.len};
    memcpy(to.ptr, from.ptr, from.len);
    return to;
}

static int compare(resolver_string_t a, resolver_string_t b) {
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static bool same(resolver_string_t a, resolver_string_t b) {
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

static bool same_option(resolver_option_string_t a, resolver_option_string_t b) {
    return a.is_some == b.is_some && (!a.is_some || same(a.val, b.val));
}

static int number(uint64_t a, uint64_t b) {
    return (a > b) - (a < b);
}

static int by_id(const void *left, const void *right) {
    return compare((*(const request_t *const *)left)->id, (*(const request_t *const *)right)->id);
}

static int by_age(const void *left, const void *right) {
    const group_t *a = left, *b = right;
    int order = number(a->submitted_at, b->submitted_at);
    return order ? order : compare(a->id, b->id);
}

static int by_order_then_age(const void *left, const void *right) {
    const group_t *a = *(group_t *const *)left, *b = *(group_t *const *)right;
    int order = number(a->order, b->order);
    return order ? order : by_age(a, b);
}

static group_t *find_group(group_t *groups, size_t count, resolver_string_t id) {
    for (size_t g = 0; g < count; g++)
        if (same(groups[g].id, id)) return &groups[g];
    return NULL;
}

static state_t collect(const conflict_set_t *set) {
    size_t requests = set->requests.len;
    state_t state = {
        .set = set,
        .requests = requests,
        .request = allocate(requests, sizeof(request_t *)),
        .group = allocate(requests, sizeof(group_t *)),
        .by_age = allocate(requests, sizeof(group_t)),
    };
    for (size_t i = 0; i < requests; i++) state.request[i] = &set->requests.ptr[i];
    qsort(state.request, requests, sizeof *state.request, by_id);
    for (size_t i = 0; i < requests; i++) {
        const request_t *request = state.request[i];
        group_t *group = find_group(state.by_age, state.groups, request->group);
        if (group == NULL) {
            group = &state.by_age[state.groups++];
            *group = (group_t){.id = request->group,
                               .submitted_at = request->submitted_at,
                               .order = LATEST,
                               .action = OPEN};
        }
        group->members++;
        group->bytes += request->bytes;
        group->settled |= request->settled;
        if (request->deadline.is_some) {
            group->late |= request->deadline.val <= set->now;
            if (request->deadline.val < group->order) group->order = request->deadline.val;
        }
    }
    qsort(state.by_age, state.groups, sizeof *state.by_age, by_age);
    for (size_t i = 0; i < requests; i++)
        state.group[i] = find_group(state.by_age, state.groups, state.request[i]->group);
    return state;
}

static void decide(group_t *group, uint8_t action, const char *reason) {
    group->action = action;
    group->reason = reason;
}

static void refuse(group_t *group, const char *code, const char *reason) {
    group->other = view(code);
    decide(group, REJECT, reason);
}

static bool is_settled(const group_t *group) {
    return group->settled;
}

static bool is_left(const group_t *group) {
    return group->left;
}

static bool same_lineage(const request_t *a, const request_t *b) {
    return same(a->service, b->service) && same_option(a->branch, b->branch);
}

// The newer, or with `sign` -1 the older, of two requests by the ages of their groups.
static size_t prefer(const state_t *state, size_t a, size_t b, int sign) {
    if (a == SIZE_MAX) return b;
    int order = by_age(state->group[a], state->group[b]);
    if (order == 0) order = compare(state->request[a]->id, state->request[b]->id);
    return sign * order > 0 ? a : b;
}

// The oldest request, in groups that `where` names, with the lineage and content of `i`;
// SIZE_MAX without one.
static size_t oldest_with_content(const state_t *state, size_t i, where_t where) {
    const request_t *request = state->request[i];
    size_t oldest = SIZE_MAX;
    for (size_t o = 0; o < state->requests; o++) {
        const request_t *other = state->request[o];
        if (state->group[o] != state->group[i] && where(state->group[o]) &&
            same(other->content, request->content) && same_lineage(other, request))
            oldest = prefer(state, oldest, o, -1);
    }
    return oldest;
}

// The newest fork, in groups that `where` names, of the members that are not held;
// SIZE_MAX without one.
static size_t newest_fork(const state_t *state, const group_t *group, where_t where) {
    size_t newest = SIZE_MAX;
    for (size_t i = 0; i < state->requests; i++) {
        const request_t *member = state->request[i];
        if (state->group[i] != group || !member->parent.is_some ||
            oldest_with_content(state, i, is_settled) != SIZE_MAX)
            continue;
        for (size_t o = 0; o < state->requests; o++) {
            const request_t *other = state->request[o];
            if (state->group[o] != group && where(state->group[o]) &&
                same_option(other->parent, member->parent) &&
                !same(other->content, member->content) && same_lineage(other, member))
                newest = prefer(state, newest, o, 1);
        }
    }
    return newest;
}

// Rules 1 to 3.
static void decide_alone(const state_t *state, group_t *group) {
    if (group->settled)
        decide(group, PROCEED, "settled already");
    else if (group->late)
        refuse(group, DEADLINE_MISSED, "it is past its deadline");
    else if (newest_fork(state, group, is_settled) != SIZE_MAX)
        refuse(group, LINEAGE_FORK, "a settled request has the same parent");
}

// Rule 4.
static void supersede(const state_t *state, group_t *group) {
    size_t fork = newest_fork(state, group, is_left);
    if (fork == SIZE_MAX) {
        group->left = true;
    } else if (group->members > 1) {
        refuse(group, LINEAGE_FORK, "a newer request has the same parent");
    } else {
        group->other = state->request[fork]->id;
        decide(group, SUPERSEDE, "a newer request has the same parent");
    }
}

// Rule 5.
static void merge(const state_t *state, group_t *group) {
    size_t into = SIZE_MAX;
    for (size_t i = 0; group->members == 1 && i < state->requests; i++) {
        if (state->group[i] != group) continue;
        into = oldest_with_content(state, i, is_settled);
        if (into == SIZE_MAX) into = oldest_with_content(state, i, is_left);
    }
    if (into == SIZE_MAX) {
        group->left = true;
    } else {
        group->other = state->request[into]->id;
        decide(group, MERGE, "another request has the same content");
    }
}

// Rule 7.
static void fill(const state_t *state) {
    uint64_t room = 0;
    for (size_t v = 0; v < state->set->volumes.len; v++) room += state->set->volumes.ptr[v].free;
    group_t **open = allocate(state->groups, sizeof(group_t *));
    size_t count = 0;
    for (size_t g = 0; g < state->groups; g++)
        if (state->by_age[g].action == OPEN) open[count++] = &state->by_age[g];
    qsort(open, count, sizeof *open, by_order_then_age);
    for (size_t g = 0; g < count; g++) {
        if (open[g]->bytes > room) {
            open[g]->until = state->set->now + RETRY_AFTER_MS;
            decide(open[g], DEFER, "no volume has room now");
        } else {
            room -= open[g]->bytes;
            decide(open[g], PROCEED, "by deadline and age");
        }
    }
    free(open);
}

static verdict_t verdict(const request_t *request, const group_t *group) {
    verdict_t verdict = {.id = copy(request->id), .reason = copy(view(group->reason))};
    verdict.action.tag = group->action;
    switch (group->action) {
    case PROCEED: verdict.action.val.proceed = group->order; break;
    case DEFER: verdict.action.val.defer = group->until; break;
    case SUPERSEDE: verdict.action.val.supersede = copy(group->other); break;
    case MERGE: verdict.action.val.merge = copy(group->other); break;
    default: verdict.action.val.reject = copy(group->other); break;
    }
    return verdict;
}

void exports_tapemark_resolver_policy_describe(info_t *ret) {
    *ret = (info_t){
        .name = copy(view("deadline-first-c")),
        .version = copy(view("1.0.0")),
        .summary = copy(view("Oldest deadline first, duplicates merged")),
    };
}

// True where it decides, false where it fills `err`.
bool exports_tapemark_resolver_policy_resolve(conflict_set_t *set, decision_t *ret,
                                              error_t *err) {
    (void)err;
    state_t state = collect(set);
    group_t *groups = state.by_age;
    for (size_t g = 0; g < state.groups; g++) decide_alone(&state, &groups[g]);
    for (size_t g = state.groups; g-- > 0;)
        if (groups[g].action == OPEN) supersede(&state, &groups[g]);
    for (size_t g = 0; g < state.groups; g++) groups[g].left = false;
    for (size_t g = 0; g < state.groups; g++)
        if (groups[g].action == OPEN) merge(&state, &groups[g]);
    fill(&state);

    verdict_t *verdicts = allocate(state.requests, sizeof *verdicts);
    for (size_t i = 0; i < state.requests; i++)
        verdicts[i] = verdict(state.request[i], state.group[i]);
    *ret = (decision_t){
        .verdicts = {.ptr = verdicts, .len = state.requests},
        .reason = copy(view("oldest deadline first, duplicates merged")),
    };
    return true;
}
