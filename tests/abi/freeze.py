"""Describes the ABI that the C headers promise, as a C file that need only compile: `make abi` writes frozen.c.

Every function with its type, every constant with its type and value, every struct with its size and alignment and
with the place and type of its fields.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from pycparser import c_ast, c_generator, c_parser

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"
CC = os.environ.get("CC", "cc")
FROZEN = Path(__file__).with_name("frozen.c")
# Versions that change and break nothing, as long as they are there.
VERSION = re.compile(r"DLB_VERSION|DLPACK_MINOR_VERSION")
# What pycparser has to know of the C library.
PRELUDE = "".join(
    f"typedef int {name};\n"
    for name in ("bool", "size_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t")
)
HEAD = """\
/* The ABI of dlbridge: if this compiles, what was promised still holds. `make abi` writes it, test_abi.py compares
 * it with the headers and with the library.
 *
 * soname: {soname}
 */
#define DLB_NO_SYSTEM_DLPACK
#include <dlbridge.h>

#define SAME(type, other) __builtin_types_compatible_p(type, other)
#define TYPE(name, type) _Static_assert(SAME(name, type), #name " is another type")
#define OPAQUE(name, type) _Static_assert(SAME(name *, type *), #name " is another type")
#define CONSTANT(name, value) \\
    _Static_assert((name) == (value) && SAME(__typeof__(name), __typeof__(value)), \\
                   #name " has another value or type")
#define VERSION(name, type) _Static_assert(SAME(__typeof__((name) + 0), type), #name " has another type")
#define SIZE(name, size, alignment) \\
    _Static_assert(sizeof(name) == size && _Alignof(name) == alignment, #name " has another size or alignment")
#define GROWABLE(name, size, alignment) \\
    _Static_assert(sizeof(name) >= size && _Alignof(name) == alignment, #name " has shrunk or another alignment")
#define FIELD(name, field, type, offset) \\
    _Static_assert(SAME(__typeof__(((name *)0)->field), type) && offsetof(name, field) == offset, \\
                   #field " of " #name " has another type or place")
#define FUNCTION(result, name, arguments) \\
    _Static_assert(SAME(__typeof__(name), result arguments), #name " has another type")
"""


def preprocessed(include: Path, *flags: str) -> str:
    command = [CC, "-E", "-DDLB_NO_SYSTEM_DLPACK", f"-I{include}", *flags, str(include / "dlbridge.h")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def declarations(include: Path) -> c_ast.FileAST:
    """What our headers declare, without what they include."""
    ours, lines = True, []
    for line in preprocessed(include).splitlines():
        if marker := re.match(r'# \d+ "(.*?)"', line):
            ours = marker[1].startswith(str(include))
        elif ours:
            lines.append(line.replace("_Bool", "bool"))
    return c_parser.CParser().parse(PRELUDE + "\n".join(lines))


def constants(include: Path) -> list[tuple[str, str]]:
    """The macros of our headers that stand for a value, by what they are defined as."""
    ours = "".join(path.read_text() for path in sorted(include.rglob("*.h")))
    defined = re.findall(r"^#define (\w+) (.+)$", preprocessed(include, "-dM"), re.MULTILINE)
    return sorted((name, value) for name, value in defined if re.search(rf"^#define {name} ", ours, re.MULTILINE))


def constant(name: str, value: str) -> str:
    if VERSION.match(name):
        return f"VERSION({name}, {'char *' if value.startswith(chr(34)) else 'int'});"
    return f"CONSTANT({name}, {value});"


def text(node: c_ast.Node) -> str:
    """A type in C, without the names of parameters, which are no part of the ABI."""

    def forget(node: c_ast.Node) -> None:
        if isinstance(node, c_ast.TypeDecl):
            node.declname = None
        for _, child in node.children():
            forget(child)

    forget(node)
    words = c_generator.CGenerator().visit(c_ast.Typename(None, [], None, node))
    return re.sub(r"\s+", " ", words)


def struct_lines(name: str, struct: c_ast.Struct) -> list[str]:
    lines = [
        f"FIELD({name}, {field.name}, {text(field.type)}, @offsetof({name}, {field.name})@);"
        for field in struct.decls
    ]
    # A struct that begins with its own size may get more fields behind the others.
    size = "GROWABLE" if struct.decls[0].name == "struct_size" else "SIZE"
    return [f"{size}({name}, @sizeof({name})@, @_Alignof({name})@);", *lines]


def describe(node: c_ast.Node) -> list[str]:
    if isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
        # None where there is no prototype.
        arguments = ", ".join(text(argument.type) for argument in node.type.args.params) if node.type.args else ""
        return [f"FUNCTION({text(node.type.type)}, {node.name}, ({arguments}));"]
    if not isinstance(node, c_ast.Typedef):
        raise SystemExit(f"{node.coord}: tests/abi/freeze.py does not know this declaration; teach it")
    kind = getattr(node.type, "type", None)
    if isinstance(kind, c_ast.Enum):
        names = [each.name for each in kind.values.enumerators]
        return [
            f"SIZE({node.name}, @sizeof({node.name})@, @_Alignof({node.name})@);",
            *(f"CONSTANT({name}, @(int){name}@);" for name in names),
        ]
    if isinstance(kind, c_ast.Struct):
        return struct_lines(node.name, kind) if kind.decls else [f"OPAQUE({node.name}, {text(node.type)});"]
    return [f"TYPE({node.name}, {text(node.type)});"]


def with_numbers(lines: list[str], include: Path) -> list[str]:
    """Each @expression@ becomes the number that the compiler has for it."""
    expressions = re.findall(r"@(.+?)@", "\n".join(lines))
    prints = "".join(f'printf("%lld\\n", (long long)({each}));' for each in expressions)
    program = f"#include <stdio.h>\n#include <dlbridge.h>\nint main(void) {{ {prints} return 0; }}"
    with tempfile.TemporaryDirectory() as folder:
        command = [CC, "-x", "c", "-DDLB_NO_SYSTEM_DLPACK", f"-I{include}", "-", "-o", f"{folder}/numbers"]
        subprocess.run(command, input=program, text=True, check=True)
        numbers = iter(
            subprocess.run([f"{folder}/numbers"], check=True, capture_output=True, text=True).stdout.split()
        )
    return [re.sub(r"@.+?@", lambda _: next(numbers), line) for line in lines]


def soname() -> str:
    """As the built library has it."""
    found = re.search(rb"libdlbridge\.so\.[0-9.]+", (ROOT / "target/release/libdlbridge.so").read_bytes())
    if found is None:
        raise SystemExit("target/release/libdlbridge.so has no soname; run make lib")
    return found.group().decode()


def frozen(include: Path = INCLUDE) -> str:
    lines = [constant(name, value) for name, value in constants(include)]
    for node in declarations(include).ext[PRELUDE.count(";") :]:
        lines += describe(node)
    return HEAD.format(soname=soname()) + "\n" + "\n".join(with_numbers(lines, include)) + "\n"


def fields_in_gaps(include: Path) -> list[str]:
    """New fields where a struct had a gap: a struct grows behind its last byte, or not at all.

    Its size does not show them, and a program that was built before leaves there whatever is in memory.
    """
    described = FROZEN.read_text()
    sizes = dict(re.findall(r"^(?:SIZE|GROWABLE)\((\w+), (\d+),", described, re.MULTILINE))
    known = set(re.findall(r"^FIELD\((\w+), (\w+),", described, re.MULTILINE))
    return [
        f"{struct} has a new field, {field}, where it had a gap"
        for struct, field, place in re.findall(r"^FIELD\((\w+), (\w+), .*, (\d+)\);", frozen(include), re.MULTILINE)
        if struct in sizes and (struct, field) not in known and int(place) < int(sizes[struct])
    ]


def breaches(include: Path = INCLUDE) -> list[str]:
    """What the committed description says and these headers do not, most of it in the words of the compiler."""
    command = [CC, "-std=c11", "-Wall", "-Werror", "-fsyntax-only", f"-I{include}", str(FROZEN)]
    done = subprocess.run(command, capture_output=True, text=True)
    errors = re.findall(r"error: (.*)", done.stderr)
    return errors or ([done.stderr] if done.returncode else fields_in_gaps(include))


def is_out(changelog: str, soname: str) -> bool:
    """Whether a library with this soname was released, so that programs may be linked to it."""
    first = soname.removeprefix("libdlbridge.so.") + ".0"
    unreleased = re.search(r"^## Unreleased: ([0-9.]+)$", changelog, re.MULTILINE)
    return unreleased is None or unreleased[1] not in (first, first + ".0")


WHAT_TO_DO = """\
If it was not meant, undo it. If it was: raise the minor version (from 1.0 on the major one) in Cargo.toml and in
bindings/python/pyproject.toml, so that the soname changes; say in CHANGELOG.md what changed; run `make abi`."""


def main() -> None:
    broken, same = breaches(), f"soname: {soname()}\n" in FROZEN.read_text()
    if broken and same and is_out((ROOT / "CHANGELOG.md").read_text(), soname()):
        words = f"Programs are linked to {soname()}, and this breaks them:"
        raise SystemExit("\n".join([words, *broken, WHAT_TO_DO]))
    FROZEN.write_text(frozen())
    print("\n".join([f"wrote {FROZEN.relative_to(ROOT)}", *(f"changed: {each}" for each in broken)]))


if __name__ == "__main__":
    main()
