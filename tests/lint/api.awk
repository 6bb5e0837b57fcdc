# The functions that francis.h declares, without those of the simulator, and those that
# tests/support/fault_api.h lists are the same: one line for each that only one of them has, exit
# code 1.
FNR == 1 { library = FILENAME ~ /(^|\/)francis\.h$/; over = 0; list = 0 }

library && /^\/\/ >> (180|200) / { over = 1 }
library && !over && /^FRANCIS_API / && match($0, /francis_[a-z0-9_]+\(/) {
    declared[substr($0, RSTART + 8, RLENGTH - 9)] = 1
    count++
}

!library && /^#define FAULT_API\(X\)/ { list = 1 }
!library && list {
    rest = $0
    while (match(rest, /X\([a-z0-9_]+\)/)) {
        listed[substr(rest, RSTART + 2, RLENGTH - 3)] = 1
        rest = substr(rest, RSTART + RLENGTH)
    }
    if ($0 !~ /\\$/)
        list = 0
}
!library && /^#define francis_[a-z0-9_]+\(/ {
    match($0, /francis_[a-z0-9_]+/)
    noted[substr($0, RSTART + 8, RLENGTH - 8)] = 1
}

END {
    for (name in declared)
        if (!(name in listed) || !(name in noted)) {
            print "no test is asked to call francis_" name " while calls fail"
            bad = 1
        }
    for (name in listed)
        if (!(name in declared)) {
            print "francis.h does not declare francis_" name
            bad = 1
        }
    if (count < 50) {
        print "francis.h declares too few functions to be true: " count + 0
        bad = 1
    }
    exit bad
}
