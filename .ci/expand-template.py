#!/usr/bin/env python3
"""Prints what CloudFormation gets of a SAM template: the template with its transform applied.

    expand-template.py TEMPLATE [NAME=VALUE...] > expanded.json

Linters read SAM with SAM's own schemas, which say little about what comes out of it: a wrong
attribute, a cycle or an unused parameter is seen only here. Nothing is asked of AWS. Code is
not built: a function's code becomes a place in a bucket. A machine's definition is read from
its file, with the substitutions' names left in.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")

from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# What stands for a parameter without a default, by its name, so that patterns are met.
STAND_INS = {
    "SourceBuckets": "releases",
    "JwtIssuer": "https://login.example.com/realm",
}


class NoManagedPolicies:
    """The translator may ask IAM for names of policies; this template names none."""

    def load(self):
        return {}


def expand(path, given):
    template = yaml_parse(path.read_text(encoding="utf-8"))
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            properties["CodeUri"] = {"Bucket": "bucket", "Key": "key"}
        elif resource["Type"] == "AWS::Serverless::StateMachine":
            definition = path.parent / properties.pop("DefinitionUri")
            properties["Definition"] = json.loads(definition.read_text(encoding="utf-8"))
    parameters = {}
    for name, parameter in template.get("Parameters", {}).items():
        if name in given:
            parameters[name] = given[name]
        elif "Default" in parameter:
            parameters[name] = parameter["Default"]
        elif name in STAND_INS:
            parameters[name] = STAND_INS[name]
        else:
            sys.exit(f"{path}: parameter {name} has no default: give {name}=VALUE")
    return transform(template, parameters, NoManagedPolicies())


def main():
    path = pathlib.Path(sys.argv[1])
    given = dict(argument.split("=", 1) for argument in sys.argv[2:])
    try:
        expanded = expand(path, given)
    except InvalidDocumentException as error:
        sys.exit("\n".join(f"{path}: {cause.message}" for cause in error.causes))
    json.dump(expanded, sys.stdout, indent=1, default=str)


main()
