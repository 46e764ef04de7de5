#!/bin/sh
# Builds the component. Needs Python 3.10 or newer; the first run fetches the compiler.
set -eu
cd "$(dirname "$0")"
wanted=$(sed -n 's/^componentize-py==//p' requirements.txt)
if [ "$(componentize-py --version 2>/dev/null)" = "componentize-py $wanted" ]; then
    compiler=componentize-py
else
    if [ ! -x .venv/bin/componentize-py ]; then
        python3 -m venv .venv
        .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    fi
    compiler=.venv/bin/componentize-py
fi
mkdir -p dist
# The types of the contract, for tests and editors.
rm -rf bindings
"$compiler" --quiet -d wit -w resolver bindings bindings
# Without --stub-wasi it would import a clock and files, which the host refuses.
"$compiler" --quiet -d wit -w resolver componentize --stub-wasi resolver \
    -o dist/{{name}}.wasm
