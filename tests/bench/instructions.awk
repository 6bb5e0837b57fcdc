# Reads what callgrind has written, prints how many instructions each function of francis.h has
# taken by itself, "name count", and "= own all" in the end: those of francis.h without the
# simulator, and all.
/^c?fn=/ {                                      # a name comes with its number once
    id = $0
    sub(/^c?fn=/, "", id)
    name = id
    sub(/\).*/, ")", id)
    if (sub(/^\([0-9]+\) /, "", name)) {
        sub(/\047[0-9]+$/, "", name)            # a function within itself
        names[id] = name
    }
    if ($0 ~ /^fn=/)
        now = id
    next
}
/^calls=/    { called = 1; next }               # the next line is of all that was called
/^[0-9+*-]/ {
    if (!called)
        cost[now] += $2
    called = 0
}
END {
    for (id in cost) {
        name = names[id]
        all += cost[id]
        if (name ~ /^(frn|francis)_/ && name !~ /^(frn|francis)_sim_/) {
            own += cost[id]
            print name, cost[id]
        }
    }
    printf "= %d %d\n", own, all
}
