"""Where the functions of a C++ file start and end, by its braces: no parser, but enough to measure them."""
import re

_SPELLED_OUT = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_TAIL = re.compile(r"\)\s*(?:const|noexcept|override|final|mutable|&|->[^;{}()]*(?:\([^()]*\))?|requires[^;{}]*|:[^:;].*)*\s*$",
                   re.DOTALL)
_INITIALISER = re.compile(r"\)\s*(?:noexcept\s*)?:[^:;].*[\w>]$", re.DOTALL)
_NOT_A_FUNCTION = re.compile(r"^\s*(?:namespace|enum|extern)\b|^\s*(?:template\b.*>\s*)?(?:class|struct|union)\b[^()]*$", re.DOTALL)


def _blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def code_only(text):
    """`text` with comments, literals and directives blanked, lines kept."""
    return _DIRECTIVE.sub(_blank, _SPELLED_OUT.sub(_blank, text))


def _is_body(head):
    return bool(_TAIL.search(head)) and not _NOT_A_FUNCTION.search(head)


def functions(text):
    """(first line, last line) of each outermost function, lines counted from 1."""
    code = code_only(text)
    found = []
    head = 0  # where the statement that a brace may end begins
    depth = 0
    inside = None  # the depth and the first line of the function we are in
    skipped = 0  # braces of a member's initialiser, as in `Row() : cells_{1} {`
    line = 1
    for i, c in enumerate(code):
        if c == "\n":
            line += 1
        elif c == "{":
            if inside is None:
                statement = code[head:i]
                if skipped or _INITIALISER.search(statement):
                    skipped += 1
                    continue
                if _is_body(statement):
                    inside = (depth, line - statement.lstrip().count("\n"))
                head = i + 1
            depth += 1
        elif c == "}":
            if skipped:
                skipped -= 1
                continue
            depth -= 1
            if inside is not None and depth == inside[0]:
                found.append((inside[1], line))
                inside = None
            if inside is None:
                head = i + 1
        elif c == ";" and inside is None and not skipped:
            head = i + 1
    return found
