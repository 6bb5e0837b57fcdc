# Puts what is laid out by hand (preprocessor lines, tables, initialisers, types in one line)
# between "clang-format off" and "on": the rest is compared with what clang-format makes of it.
function off(end)
{
    print "// clang-format off"
    until_end = end
    fenced = 1
}
{
    code = $0
    gsub(/"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/, "S", code)
    gsub(/\/\*([^*]|\*[^\/])*\*\//, "", code)
    sub(/\/\*.*/, "", code)
    sub(/\/\/.*/, "", code)
    sub(/[ \t]+$/, "", code)
    if (fenced)
        ;
    else if (code ~ /^[ \t]*#/)
        off("line")
    else if (code ~ /^[ \t]*(typedef )?(struct|union|enum)[^(]*\{.*\}.*;$/)
        off(";")
    else if (code ~ /^[ \t]*(typedef )?enum[^(]*\{/)
        off(";")
    else if (code ~ /=[ \t]*\{/)
        off(";")
    print
    if (fenced && (until_end == ";" ? code ~ /;$/ : $0 !~ /\\$/)) {
        print "// clang-format on"
        fenced = 0
    }
}
