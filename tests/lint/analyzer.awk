# Reads a list of known mistakes of gcc's analyzer, and what that has said. Prints what is not in
# the list, and what of the list was not said; fails if there is any.

FNR == NR {
    if (!/^#/ && NF > 2)
        known[$1 " " $2] = 1
    next
}

# "./francis.h: In function 'name':"
/: In function '/ {
    name = $0
    sub(/.*: In function '/, "", name)
    sub(/'.*/, "", name)
}

/ warning: .*\[-W/ {
    warning = $0
    sub(/.*\[-W/, "-W", warning)
    sub(/\].*/, "", warning)
    if ((name " " warning) in known)
        said[name " " warning] = 1
    else {
        print name ": " $0
        bad = 1
    }
}

/ error: / { print; bad = 1 }

END {
    for (one in known)
        if (!(one in said)) {
            print "is in the list, and was not said: " one
            bad = 1
        }
    exit bad
}
