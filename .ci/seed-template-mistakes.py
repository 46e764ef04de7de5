#!/usr/bin/env python3
"""Seeds mistakes into copies of the template and its company, and wants each one found.

    seed-template-mistakes.py LINT

LINT is `.ci/lint-template`. A mistake is found when the step that should find it fails and says
so in the words given here; a linter that no longer looks makes this fail.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

TEMPLATE = "template.yaml"
WATCH = "infra/observability.yaml"
MACHINE = "infra/state-machine/checkpoint.asl.json"

# What goes wrong, in which file, the text, what it becomes, the step, what the step says.
MISTAKES = [
    # What SAM knows.
    ("a property of a function is misspelt", TEMPLATE, "      CodeUri: functions/verify", "      CodeUrl: functions/verify", "sam", "CodeUr"),
    ("a Ref names nothing", TEMPLATE, "TAPEMARK_TABLE: !Ref CatalogueTable", "TAPEMARK_TABLE: !Ref CatalogTable", "expansion", "CatalogTable"),
    # What only the expansion shows.
    ("a GetAtt asks for an attribute that is not there", TEMPLATE, "!GetAtt ResolverKey.Arn", "!GetAtt ResolverKey.Name", "expansion", "E1010"),
    ("a function that starts the machine depends on it, a cycle", TEMPLATE, "        TAPEMARK_LIBRARY: !Ref Library\n", "        TAPEMARK_LIBRARY: !Ref CheckpointStateMachine\n", "expansion", "E3004"),
    ("a timeout is longer than Lambda's", TEMPLATE, "Timeout: 890", "Timeout: 1890", "expansion", "1890"),
    ("a runtime does not exist", TEMPLATE, "Runtime: provided.al2023", "Runtime: provided.al2022", "expansion", "provided.al2022"),
    ("an action does not exist", TEMPLATE, "dynamodb:ConditionCheckItem", "dynamodb:ConditionalCheckItem", "expansion", "W3037"),
    ("a parameter is used by nobody", TEMPLATE, "  Alarms:\n    Type: String\n", "  Unused:\n    Type: String\n    Default: x\n  Alarms:\n    Type: String\n", "expansion", "W2001"),
    ("an attribute stands in no key", TEMPLATE, "        - { AttributeName: gsi2sk, AttributeType: S }\n", "        - { AttributeName: gsi2sk, AttributeType: S }\n        - { AttributeName: body, AttributeType: S }\n", "source", "E3039"),
    ("the nested stack lacks a parameter", TEMPLATE, "        HttpApi: !Ref HttpApi\n", "", "source", "HttpApi"),
    ("what holds data has no deletion policy", TEMPLATE, "  CatalogueTable:\n    Type: AWS::DynamoDB::Table\n    DeletionPolicy: Retain\n", "  CatalogueTable:\n    Type: AWS::DynamoDB::Table\n", "source", "I3011"),
    ("a definition is not where the template says", TEMPLATE, "checkpoint.asl.json", "checkpoints.asl.json", "expansion", "checkpoints.asl.json"),
    # What our own rules forbid.
    ("the table is not encrypted with our key", TEMPLATE, "      SSESpecification: { SSEEnabled: true, SSEType: KMS, KMSMasterKeyId: !GetAtt DataKey.Arn }\n", "", "guard", "tables_have_our_key"),
    ("a bucket has no encryption of ours", TEMPLATE, "SSEAlgorithm: aws:kms, KMSMasterKeyID: !GetAtt DataKey.Arn", "SSEAlgorithm: AES256", "guard", "buckets_have_our_key"),
    ("a bucket lets the public in", TEMPLATE, "RestrictPublicBuckets: true", "RestrictPublicBuckets: false", "guard", "buckets_are_not_public"),
    ("a bucket takes plain HTTP", TEMPLATE, "          - Sid: OnlyOverTls\n            Effect: Deny\n            Principal: \"*\"\n            Action: s3:*", "          - Sid: AnyWay\n            Effect: Deny\n            Principal: \"*\"\n            Action: s3:*", "guard", "buckets_speak_tls"),
    ("a function may do something with everything", TEMPLATE, "              Action: s3:GetObjectVersion\n              Resource: !Split", "              Action: s3:GetObjectVersion\n              Resource: \"*\"\n            - Sid: More\n              Effect: Allow\n              Action: s3:GetObject\n              Resource: !Split", "guard", "statements_name_what_they_allow"),
    ("a function may do everything with something", TEMPLATE, "              - dynamodb:GetItem\n", "              - dynamodb:*\n", "guard", "managed_statements_name_what_they_allow"),
    ("a policy shared by functions is about everything", TEMPLATE, "            Resource: !GetAtt CatalogueTable.Arn\n", "            Resource: \"*\"\n", "guard", "managed_statements_name_what_they_allow"),
    ("a function has a managed policy of AWS", TEMPLATE, "        - !Ref CatalogueAccess\n", "        - AmazonS3FullAccess\n        - !Ref CatalogueAccess\n", "guard", "roles_have_only_these_managed_policies"),
    ("logs are kept for ever", TEMPLATE, "      RetentionInDays: !Ref LogRetentionDays\n", "", "guard", "logs_end"),
    ("the table cannot go back in time", TEMPLATE, "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false", "guard", "tables_can_go_back_in_time"),
    ("what holds data is deleted with the stack", TEMPLATE, "    Type: AWS::S3::Bucket\n    DeletionPolicy: Retain", "    Type: AWS::S3::Bucket\n    DeletionPolicy: Delete", "guard", "data_is_retained"),
    ("a queue has no dead letters and no reason", TEMPLATE, "    Metadata: { Tapemark: { NoDeadLetters: a ring", "    Metadata: { Tapemark: { Note: a ring", "guard", "queues_have_dead_letters"),
    ("the stream has no dead letters", TEMPLATE, "      DestinationConfig: { OnFailure: { Destination: !GetAtt EventsFailedQueue.Arn } }\n", "", "guard", "streams_give_up_somewhere"),
    ("a route of the API needs no token", TEMPLATE, "      RouteKey: POST /graphql\n      AuthorizationType: JWT\n      AuthorizerId: !Ref HttpApiJwt\n", "      RouteKey: POST /graphql\n      AuthorizationType: NONE\n", "guard", "routes_want_tokens"),
    ("a key does not rotate", TEMPLATE, "EnableKeyRotation: true", "EnableKeyRotation: false", "guard", "symmetric_keys_rotate"),
    ("an alarm tells nobody", WATCH, "      AlarmActions: [!Ref AlarmTopic]\n", "", "guard", "alarms_reach_somebody"),
    # What no linter knows.
    ("the machine logs task tokens", TEMPLATE, "IncludeExecutionData: false", "IncludeExecutionData: true", "own", "task tokens"),
    ("a placeholder is not substituted", TEMPLATE, "        VerifyFunctionArn: !GetAtt VerifyFunction.Arn\n", "", "own", "${VerifyFunctionArn} of the machine is not substituted"),
    ("a function outlives its state", TEMPLATE, "Timeout: 110", "Timeout: 300", "own", "gives up after 120 s"),
    ("an index has other keys than the code", TEMPLATE, "AttributeName: gsi1sk, KeyType", "AttributeName: gsi2sk, KeyType", "own", "index gsi1 is not as in schema.rs"),
    ("another attribute is the TTL", TEMPLATE, "AttributeName: expires, Enabled", "AttributeName: ttl, Enabled", "own", "TTL attribute is expires"),
    ("a variable is missing", TEMPLATE, "        TAPEMARK_LIBRARY: !Ref Library\n", "", "own", "TAPEMARK_LIBRARY"),
    ("a variable is read by nobody", TEMPLATE, "        TAPEMARK_LIBRARY: !Ref Library\n", "        TAPEMARK_LIBRARY: !Ref Library\n        TAPEMARK_LIBRARIES: !Ref Library\n", "own", "TAPEMARK_LIBRARIES"),
    ("a filter of the stream is no JSON", TEMPLATE, '{"eventName":["INSERT"],"dynamodb":{"Keys":{"pk"', '{"eventName":[INSERT],"dynamodb":{"Keys":{"pk"', "own", "is no JSON"),
    ("a schedule is ungrammatical", TEMPLATE, "rate(1 minute)", "rate(1 minutes)", "own", "is no schedule"),
    ("a policy is about every table", TEMPLATE, '!Sub "${CatalogueTable.Arn}/index/gsi2"', '!Sub "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/*"', "own", "is all of a service's"),
    ("an alarm is not on the dashboard", WATCH, '"${RunsParked.Arn}", ', "", "own", "RunsParked is not on it"),
    ("the docs do not know an alarm", "docs/aws.md", "| `RunsParked` |", "| `RunsParking` |", "own", "RunsParked"),
    ("a sample sets what never arrives", "env.json", "TAPEMARK_TABLE", "TAPEMARK_TABLES", "own", "TAPEMARK_TABLES never reaches"),
    # The machine.
    ("a state goes to one that is not there", MACHINE, '"Next": "Decided"', '"Next": "Decide"', "machine", "Decide"),
    ("a retrier gets faster", MACHINE, '"BackoffRate": 2,', '"BackoffRate": 0.5,', "machine", "BackoffRate"),
    ("a field does not exist", MACHINE, '"TimeoutSeconds": 900,', '"TimoutSeconds": 900,', "machine", "/States/Validate is invalid"),
    ("a heartbeat is as long as its timeout", MACHINE, '"TimeoutSeconds": 900,', '"TimeoutSeconds": 900, "HeartbeatSeconds": 900,', "own", "heartbeat is not shorter"),
    ("an error of the language does not exist", MACHINE, '"States.HeartbeatTimeout"', '"States.HeartbeatTimedOut"', "own", "States.HeartbeatTimedOut"),
    ("a function of the language does not exist", MACHINE, "States.MathAdd(", "States.MathPlus(", "own", "States.MathPlus"),
]

NEEDED = ["template.yaml", "env.json", "infra", "docs/aws.md", "crates/aws/src/schema.rs", "crates/lambda/src", "functions"]


def lint(lint_template, root, *steps):
    done = subprocess.run(
        [lint_template, *steps],
        env={**os.environ, "TAPEMARK_ROOT": str(root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def main():
    lint_template = sys.argv[1]
    project = pathlib.Path(lint_template).resolve().parent.parent
    wrong = []
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        for path in NEEDED:
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if (project / path).is_dir():
                shutil.copytree(project / path, target, ignore=shutil.ignore_patterns("target"))
            else:
                shutil.copy(project / path, target)
        for title, path, old, new, step, says in MISTAKES:
            file = root / path
            sound = file.read_text(encoding="utf-8")
            if old not in sound:
                wrong.append(f"{title}: {path} has no {old!r} to seed it in")
                continue
            file.write_text(sound.replace(old, new, 1), encoding="utf-8")
            code, output = lint(lint_template, root, step)
            file.write_text(sound, encoding="utf-8")
            if code == 0:
                wrong.append(f"{title}: not found by {step}")
            elif says not in output:
                wrong.append(f"{title}: {step} fails, but does not say {says!r}:\n{output[-2000:]}")
            else:
                print(f"found by {step}: {title}", flush=True)
        # The sound copy passes, or finding mistakes in it would mean nothing.
        code, output = lint(lint_template, root)
        if code != 0:
            wrong.append(f"the copy without mistakes does not pass:\n{output[-4000:]}")
    for problem in wrong:
        print(f"NOT FOUND: {problem}", file=sys.stderr)
    print(f"{len(MISTAKES)} mistakes seeded, {len(MISTAKES) - len(wrong)} found")
    sys.exit(bool(wrong))


main()
