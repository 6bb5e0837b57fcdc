# Reads francis.h, and after it what llvm-cov shows of each copy of it; adds up lines and branches.
# A condition counts as two branches: that it held, and that it did not. Prints a line for each
# section, writes the branches that nothing took to the file `missed`, and fails below `least`
# percent of the library without its simulator.

# The header itself: its lines, and the section of each.
FNR == NR {
    if (/^\/\/ >> /)
        sections[++count] = section = $3 " " $4
    text[++length_of_file] = $0
    of[length_of_file] = section
    next
}

/^ *[0-9]+\| *[0-9.kMGTE]+\|/ {
    split($0, column, "|")
    line = column[1] + 0
    seen[line] = 1
    if (column[2] + 0 > 0)
        ran[line] = 1
}

/^  \|  Branch \([0-9]+:[0-9]+\): \[True: / {
    place = $3
    gsub(/[():]/, " ", place)
    split(place, at, " ")
    key = at[1] " " at[2]
    known[key] = 1
    match($0, /True: [^,]*/)
    if (substr($0, RSTART + 6, RLENGTH - 6) + 0 > 0)
        held[key] = 1
    match($0, /False: [^\]]*/)
    if (substr($0, RSTART + 7, RLENGTH - 7) + 0 > 0)
        failed[key] = 1
}

function percent(part, all) { return all == 0 ? 100 : 100 * part / all }

function miss(key, what) {
    split(key, at, " ")
    gaps[at[1]] = gaps[at[1]] sprintf("%6d:%-3d %s  %s\n", at[1], at[2], what, trim(text[at[1]]))
}

function trim(s) { sub(/^ +/, "", s); return s }

function print_total(name, branches, taken, lines, lines_ran) {
    printf "%-26s %6d of %6d branches %6.2f %%   %6d of %6d lines %6.2f %%\n", name, taken, branches,
        percent(taken, branches), lines_ran, lines, percent(lines_ran, lines)
}

END {
    for (key in known) {
        split(key, at, " ")
        section = of[at[1]]
        branches[section] += 2
        taken[section] += (key in held) + (key in failed)
        if (!(key in held))
            miss(key, "never true ")
        if (!(key in failed))
            miss(key, "never false")
    }
    for (line in seen) {
        all[of[line]]++
        if (line in ran)
            run[of[line]]++
    }
    for (i = 1; i <= count; i++) {
        section = sections[i]
        if (branches[section] == 0)
            continue
        print_total(section, branches[section], taken[section], all[section], run[section])
        part = section ~ / sim/ ? "simulator" : "library"
        total[part] += branches[section]
        total_taken[part] += taken[section]
        total_lines[part] += all[section]
        total_run[part] += run[section]
    }
    print_total("the simulator", total["simulator"], total_taken["simulator"],
        total_lines["simulator"], total_run["simulator"])
    print_total("the library", total["library"], total_taken["library"], total_lines["library"],
        total_run["library"])
    printf "" > missed
    for (line = 1; line <= length_of_file; line++) {
        if (of[line] != last) {
            last = of[line]
            printf "== %s\n", last > missed
        }
        if (line in gaps)
            printf "%s", gaps[line] > missed
    }
    close(missed)
    print "The branches that nothing took are in " missed
    if (percent(total_taken["library"], total["library"]) < least) {
        print "That is less than " least " % of the library's branches."
        exit 1
    }
}
