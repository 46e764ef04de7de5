#!/usr/bin/env python3
"""What no linter knows of template.yaml: how it fits the code, the state machine and the docs.

    check-template.py ROOT check              prints what is wrong, one line each; fails if any
    check-template.py ROOT machine > FILE     the machine with its placeholders substituted, for
                                              the linters of state machines

Each check is a function that yields problems. `.ci/lint-template --self-test` seeds mistakes
and wants them found.
"""

import json
import pathlib
import re
import sys

from samtranslator.yaml_helper import yaml_parse

MACHINE = "infra/state-machine/checkpoint.asl.json"

# Error names that Step Functions itself gives (developer guide, Handling errors).
ERRORS = {
    "States." + name
    for name in (
        "ALL DataLimitExceeded ExceedToleratedFailureThreshold HeartbeatTimeout Http.Socket "
        "IntrinsicFailure ItemReaderFailed NoChoiceMatched ParameterPathFailure Permissions "
        "QueryEvaluationError ResultPathMatchFailure ResultWriterFailed Runtime TaskFailed Timeout"
    ).split()
}

# Functions of the language (developer guide, Intrinsic functions).
INTRINSICS = {
    "States." + name
    for name in (
        "Array ArrayContains ArrayGetItem ArrayLength ArrayPartition ArrayRange ArrayUnique "
        "Base64Decode Base64Encode Format Hash JsonMerge JsonToString MathAdd MathRandom "
        "StringSplit StringToJson UUID"
    ).split()
}


class Project:
    """The files that belong together, read once."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.template = yaml_parse(self.text("template.yaml"))
        self.watch = yaml_parse(self.text("infra/observability.yaml"))
        self.machine = json.loads(self.text(MACHINE))
        self.resources = self.template["Resources"]
        self.functions = {
            name: resource["Properties"]
            for name, resource in self.resources.items()
            if resource["Type"] == "AWS::Serverless::Function"
        }

    def text(self, path):
        return (self.root / path).read_text(encoding="utf-8")

    def of_type(self, kind, template=None):
        return {
            name: resource
            for name, resource in (template or self.template)["Resources"].items()
            if resource["Type"] == kind
        }

    def states(self):
        yield from self.machine["States"].items()


def walk(value):
    """Every value inside, parents first."""
    yield value
    if isinstance(value, dict):
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def texts(value):
    return (inner for inner in walk(value) if isinstance(inner, str))


def substitutions_meet(project):
    """Every `${Name}` of the machine is substituted, and nothing else."""
    wanted = set(re.findall(r"\$\{(\w+)\}", project.text(MACHINE)))
    for name, machine in project.of_type("AWS::Serverless::StateMachine").items():
        given = set(machine["Properties"].get("DefinitionSubstitutions", {}))
        for missing in sorted(wanted - given):
            yield f"{name}: ${{{missing}}} of the machine is not substituted"
        for unused in sorted(given - wanted):
            yield f"{name}: the machine has no ${{{unused}}}"


def names_of_the_language_exist(project):
    """`States.X` is an error or a function that Step Functions has."""
    for name, state in project.states():
        for rule in state.get("Retry", []) + state.get("Catch", []):
            for error in rule["ErrorEquals"]:
                if error.startswith("States.") and error not in ERRORS:
                    yield f"{MACHINE}: {name}: no error is called {error}"
        for key, value in pairs(state):
            if key.endswith(".$") and isinstance(value, str):
                for function in re.findall(r"States\.\w+", value):
                    if function not in INTRINSICS:
                        yield f"{MACHINE}: {name}: no function is called {function}"


def pairs(value):
    for inner in walk(value):
        if isinstance(inner, dict):
            yield from inner.items()


def waits_are_ordered(project):
    """A heartbeat is shorter than its timeout; a function ends before its state gives up."""
    given = next(iter(project.of_type("AWS::Serverless::StateMachine").values()))
    given = given["Properties"].get("DefinitionSubstitutions", {})
    whole = project.machine.get("TimeoutSeconds", float("inf"))
    for name, state in project.states():
        if state["Type"] != "Task":
            continue
        timeout = state.get("TimeoutSeconds")
        if timeout is None:
            yield f"{MACHINE}: {name}: a task has no TimeoutSeconds"
            continue
        if timeout >= whole:
            yield f"{MACHINE}: {name}: waits {timeout} s, the whole machine {whole} s"
        if state.get("HeartbeatSeconds", 0) >= timeout:
            yield f"{MACHINE}: {name}: the heartbeat is not shorter than the timeout"
        called = re.fullmatch(r"\$\{(\w+)\}", state["Parameters"]["FunctionName"])
        target = given.get(called.group(1)) if called else None
        function = target and target.get("Fn::GetAtt", [None])
        function = function[0] if isinstance(function, list) else str(function).split(".")[0]
        limit = project.functions.get(function, {}).get("Timeout")
        if limit is None:
            yield f"{MACHINE}: {name}: does not call a function of the template"
        elif limit > timeout:
            yield f"{MACHINE}: {name}: gives up after {timeout} s, {function} after {limit} s"


def backoff_ends(project):
    """No retrier waits shorter each time, and none for ever."""
    for name, state in project.states():
        for retry in state.get("Retry", []):
            if retry.get("BackoffRate", 2) < 1:
                yield f"{MACHINE}: {name}: BackoffRate {retry['BackoffRate']} is below 1"
            if "MaxDelaySeconds" not in retry or "MaxAttempts" not in retry:
                yield f"{MACHINE}: {name}: a retrier has no MaxDelaySeconds or no MaxAttempts"


def environment_meets_the_code(project):
    """The functions read what the template sets, and the other way round."""
    reads = set()
    for path in sorted(project.root.glob("crates/lambda/src/**/*.rs")):
        reads |= variables(path)
    every = set(project.template["Globals"]["Function"]["Environment"]["Variables"])
    given = set(every)
    for name, function in project.functions.items():
        own = set(function.get("Environment", {}).get("Variables", {}))
        given |= own
        folder = project.root / function["CodeUri"] / "src"
        for path in sorted(folder.glob("**/*.rs")):
            for missing in sorted(variables(path) - every - own):
                yield f"{name}: reads {missing}, which the template does not set for it"
            reads |= variables(path)
    given = {name for name in given if name.startswith("TAPEMARK_")}
    for missing in sorted(reads - given):
        yield f"template.yaml: the functions read {missing}, which is not set"
    for unused in sorted(given - reads):
        yield f"template.yaml: sets {unused}, which no function reads"


def variables(path):
    return set(re.findall(r'"(TAPEMARK_[A-Z_]+)"', path.read_text(encoding="utf-8")))


def functions_have_folders(project):
    """Every function is built from its folder, as the binary that its package makes."""
    for name, function in project.functions.items():
        folder = function["CodeUri"]
        if name != pathlib.Path(folder).name.capitalize() + "Function":
            yield f"{name}: CodeUri {folder} belongs to a function of another name"
        metadata = project.resources[name].get("Metadata", {})
        binary = metadata.get("BuildProperties", {}).get("Binary")
        manifest = project.root / folder / "Cargo.toml"
        if not manifest.exists():
            yield f"{name}: {folder} has no Cargo.toml"
        elif f'name = "{binary}"' not in manifest.read_text(encoding="utf-8"):
            yield f"{name}: {folder}/Cargo.toml makes no binary called {binary}"
        if metadata.get("BuildMethod") != "rust-cargolambda":
            yield f"{name}: BuildMethod is not rust-cargolambda"


def table_meets_the_schema(project):
    """Keys, indexes and the TTL attribute are those of crates/aws."""
    schema = project.text("crates/aws/src/schema.rs")
    constant = lambda name: re.search(rf'pub const {name}: &str = "(\w+)"', schema).group(1)
    table = project.resources["CatalogueTable"]["Properties"]
    keys = lambda given: {k["KeyType"]: k["AttributeName"] for k in given["KeySchema"]}
    wanted = {"HASH": constant("PK"), "RANGE": constant("SK")}
    if keys(table) != wanted:
        yield f"CatalogueTable: keys are {keys(table)}, schema.rs has {wanted}"
    indexes = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
    for name, pk, sk in re.findall(r'name: "(\w+)",\s+pk: "(\w+)",\s+sk: "(\w+)"', schema):
        index = indexes.pop(name, None)
        if index is None or keys(index) != {"HASH": pk, "RANGE": sk}:
            yield f"CatalogueTable: index {name} is not as in schema.rs"
        elif index["Projection"] != {"ProjectionType": "ALL"}:
            yield f"CatalogueTable: index {name} does not project all attributes"
    for name in indexes:
        yield f"CatalogueTable: schema.rs knows no index {name}"
    if table["TimeToLiveSpecification"]["AttributeName"] != constant("EXPIRES"):
        yield f"CatalogueTable: the TTL attribute is {constant('EXPIRES')} in schema.rs"
    if table["StreamSpecification"]["StreamViewType"] != "NEW_AND_OLD_IMAGES":
        yield "CatalogueTable: the events function wants new and old images"


def policies_are_narrow(project):
    """No resource of a policy is all of a kind; no index is granted that is not there."""
    indexes = {
        index["IndexName"]
        for index in project.resources["CatalogueTable"]["Properties"]["GlobalSecondaryIndexes"]
    }
    for name, resource in project.resources.items():
        policies = resource.get("Properties", {}).get("Policies", [])
        document = resource.get("Properties", {}).get("PolicyDocument")
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            policies = [document]
        for policy in policies:
            if isinstance(policy, dict) and "Fn::If" not in policy and "Ref" not in policy:
                if "Statement" not in policy:
                    yield f"{name}: {next(iter(policy))} is a policy template: write it out"
                    continue
            for text in texts(policy):
                arn = re.sub(r"\$\{[^}]+\}", "<>", text).split(":", 5)
                if arn[0] == "arn" and re.match(r"\*|\w+[:/]\*", arn[-1]):
                    yield f"{name}: {text} is all of a service's, name one"
                if text.startswith("arn:aws:iam::aws:policy/"):
                    yield f"{name}: {text} is a managed policy: write out what is needed"
                index = re.search(r"/index/(\S+)$", text)
                if index and index.group(1) not in indexes:
                    yield f"{name}: the table has no index {index.group(1)}"


def patterns_are_json(project):
    """Filters of streams are patterns that EventBridge understands."""
    for name, mapping in project.of_type("AWS::Lambda::EventSourceMapping").items():
        for filter_ in mapping["Properties"].get("FilterCriteria", {}).get("Filters", []):
            try:
                pattern = json.loads(filter_["Pattern"])
            except ValueError as error:
                yield f"{name}: a filter is no JSON: {error}"
                continue
            for inner in walk(pattern):
                if not isinstance(inner, (dict, list, str)):
                    yield f"{name}: {inner!r} in a filter is not in a list of what matches"
            if not isinstance(pattern.get("eventName", []), list):
                yield f"{name}: what matches stands in a list"


def schedules_are_grammatical(project):
    """rate(1 minute), rate(5 minutes), cron(six fields)."""
    for name, function in project.functions.items():
        for event in function.get("Events", {}).values():
            text = event["Properties"].get("ScheduleExpression", "rate(1 minute)")
            rate = re.fullmatch(r"rate\((\d+) (minute|hour|day)(s?)\)", text)
            good = rate and int(rate[1]) > 0 and (rate[1] == "1") == (rate[3] == "")
            if not good and not re.fullmatch(r"cron\(\S+( \S+){5}\)", text):
                yield f"{name}: {text} is no schedule"
            if event["Type"] == "ScheduleV2" and "Name" not in event["Properties"]:
                yield f"{name}: a schedule without a name of the stack's collides with another stack's"


def alarms_are_known(project):
    """Every alarm is on the dashboard and in the docs, and every metric of ours is a real one."""
    alarms = project.of_type("AWS::CloudWatch::Alarm", project.watch)
    section = project.text("docs/aws.md").split("\n## Alarms\n", 1)[-1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| ((?:`\w+` ?)+)\|", section, re.M)
    listed = {name for cell in cells for name in re.findall(r"\w+", cell)}
    board = project.watch["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    try:
        json.loads(re.sub(r"\$\{[\w.:]+\}", "x", board))
    except ValueError as error:
        yield f"Dashboard: no JSON: {error}"
    known = set(project.watch["Resources"]) | set(project.watch["Parameters"])
    for name in re.findall(r"\$\{(\w+)[.}]", board):
        if name not in known:
            yield f"Dashboard: there is no {name}"
    for name in sorted(alarms):
        if f"${{{name}.Arn}}" not in board:
            yield f"Dashboard: {name} is not on it"
        if name not in listed:
            yield f"docs/aws.md: does not say what to do about the alarm {name}"
    for name in sorted(listed - set(alarms)):
        yield f"docs/aws.md: there is no alarm {name}"


def samples_set_only_what_is_declared(project):
    """`sam local invoke` passes no variable of env.json that the template does not declare."""
    declared = set(project.template["Globals"]["Function"]["Environment"]["Variables"])
    for function in project.functions.values():
        declared |= set(function.get("Environment", {}).get("Variables", {}))
    for name in sorted(set(json.loads(project.text("env.json"))["Parameters"]) - declared):
        yield f"env.json: {name} never reaches a function, the template does not declare it"


def logs_are_apart(project):
    """Task tokens are secrets: no log of a machine may hold inputs."""
    for name, machine in project.of_type("AWS::Serverless::StateMachine").items():
        if machine["Properties"]["Logging"].get("IncludeExecutionData") is not False:
            yield f"{name}: logs inputs, which hold task tokens"


CHECKS = [
    substitutions_meet,
    names_of_the_language_exist,
    waits_are_ordered,
    backoff_ends,
    environment_meets_the_code,
    functions_have_folders,
    table_meets_the_schema,
    policies_are_narrow,
    patterns_are_json,
    schedules_are_grammatical,
    alarms_are_known,
    samples_set_only_what_is_declared,
    logs_are_apart,
]


def substituted(project):
    """The machine as Step Functions gets it. A statement linter wants rates with a fraction."""
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:"
    text = re.sub(r"\$\{(\w+?)Arn\}", arn + r"\1", project.text(MACHINE))
    machine = json.loads(text)
    for key, value in pairs(machine):
        if key == "Retry":
            for retry in value:
                retry["BackoffRate"] = float(retry.get("BackoffRate", 2))
    return machine


def main():
    project = Project(sys.argv[1])
    if sys.argv[2] == "machine":
        json.dump(substituted(project), sys.stdout, indent=1)
        return
    problems = [problem for check in CHECKS for problem in check(project)]
    print("\n".join(problems) if problems else f"{len(CHECKS)} checks of our own: nothing wrong")
    sys.exit(bool(problems))


main()
