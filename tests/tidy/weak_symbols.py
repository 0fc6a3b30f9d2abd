#!/usr/bin/env python3
"""weak_symbols.py NM OBJECT...: ends with 1 if an object defines a symbol that a linker may merge with another's."""
import subprocess
import sys

# nm's letters: W and V are weak, u is unique in the program. In lower case, w and v are weak and not defined here.
MERGED = "WVu"


def main():
    nm, objects = sys.argv[1], sys.argv[2:]
    if not objects:
        sys.exit("no objects to look at")
    found = symbols = 0
    for path in objects:
        listing = subprocess.run([nm, "-C", path], stdout=subprocess.PIPE, text=True, check=True).stdout
        for line in listing.splitlines():
            fields = line[17:].split(" ", 1) if len(line) > 17 else []
            symbols += bool(fields)
            if fields and fields[0] in MERGED:
                print(f"{path}: {line}")
                found += 1
    if symbols == 0:
        sys.exit("these objects have no symbols at all")
    print(f"{len(objects)} objects, {symbols} symbols, {found} of them weak")
    sys.exit(1 if found else 0)


main()
