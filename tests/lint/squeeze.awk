# Leaves of a file what the layout check compares: blanks within a line become one, the lines of a
# comment lose their indentation, and what goes on in the next line is joined to one.
/^[ \t]*\/\/ clang-format o/ { next }
{
    match($0, /^[ \t]*/)
    rest = substr($0, RLENGTH + 1)
    joined = !comment && (depth > 0 || rest ~ /^(\?|"|&&|\|\||:[^:])/)
    indent = comment ? "" : substr($0, 1, RLENGTH)
    code = $0
    if (comment && sub(/^.*\*\//, "", code))
        comment = 0
    else if (comment)
        code = ""
    gsub(/"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/, "S", code)
    gsub(/\/\*([^*]|\*[^\/])*\*\//, "", code)
    sub(/\/\/.*/, "", code)
    if (sub(/\/\*.*/, "", code))
        comment = 1
    depth += gsub(/\(/, "", code) - gsub(/\)/, "", code)
    if (code ~ /^[{}]/)
        depth = 0
    gsub(/[ \t]+/, " ", rest)
    sub(/ $/, "", rest)
    printf "%s%s", FNR == 1 ? "" : joined ? " " : "\n", (joined ? "" : indent) rest
}
END { print "" }
