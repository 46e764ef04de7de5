#!/bin/sh
# Builds the component. Needs Node.js 18 or newer; the first run fetches the compiler.
set -eu
cd "$(dirname "$0")"
if [ -x node_modules/.bin/componentize-qjs ]; then
    compiler=node_modules/.bin/componentize-qjs
elif command -v componentize-qjs >/dev/null; then
    compiler=componentize-qjs
else
    npm install --no-audit --no-fund
    compiler=node_modules/.bin/componentize-qjs
fi
mkdir -p dist
# Without --sync it would use the asynchronous ABI, and without --stub-wasi it would import
# a clock and files: the host refuses both.
"$compiler" --wit wit --js src/resolver.js --world resolver --stub-wasi --sync \
    --output dist/{{name}}.wasm
