# What this project asks of its files and no tool checks: one line for each fault, exit code 1.
function fault(what)
{
    printf "%s:%d: %s\n", FILENAME, FNR, what
    bad = 1
}
FNR == 1 { library = FILENAME ~ /(^|\/)francis\.h$/; section = 0; comment = 0 }

length($0) > 100    { fault("longer than 100 columns") }
/[ \t]$/            { fault("blanks at the end of the line") }
/\t/                { fault("a tab") }
/TO[D]O|FIX[M]E/     { fault("unfinished") }

library && /^\/\/ >>/ {
    if ($0 !~ /^\/\/ >> [0-9][0-9][0-9] [a-z][a-z0-9_.]*( |$)/)
        fault("not a section marker: // >> NNN name")
    else if ($3 + 0 <= section)
        fault("section " $3 " after section " section)
    section = $3 + 0
}

library {
    code = $0                           # without comments, strings
    if (comment && sub(/^.*\*\//, "", code))
        comment = 0
    else if (comment)
        code = ""
    gsub(/"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/, "S", code)
    gsub(/\/\*([^*]|\*[^\/])*\*\//, "", code)
    sub(/\/\/.*/, "", code)
    if (sub(/\/\*.*/, "", code))
        comment = 1
    if (section != 220 && code ~ /(^|[^A-Za-z0-9_.>])(malloc|calloc|realloc|free|strn?dup) *\(/)
        fault("memory is asked for in section 220 only")
    if ((section < 210 || section >= 270) &&
        code ~ /(^|[^A-Za-z0-9_.>])(clock_gettime|gettimeofday|time|getrandom|random|rand) *\(/)
        fault("clocks and randomness are read in sections 210 to 260 only")
}
END { exit bad }
