# Reads what callgrind has written, prints how many instructions each function of francis.h has
# taken by itself, "name count", and "= own all" in the end: those of francis.h without the
# simulator, and all.
/^fn=/ {
    id = $0
    sub(/^fn=/, "", id)
    name = id
    if (sub(/^\([0-9]+\) /, "", name)) {
        sub(/\).*/, ")", id)
        names[id] = name
    }
    now = names[id]
    sub(/\047[0-9]+$/, "", now)                 # a function within itself
    next
}
/^calls=/    { called = 1; next }               # the next line is of all that was called
/^[0-9+*-]/ {
    if (!called)
        cost[now] += $2
    called = 0
}
END {
    for (name in cost) {
        all += cost[name]
        if (name ~ /^(frn|francis)_/ && name !~ /^(frn|francis)_sim_/) {
            own += cost[name]
            print name, cost[name]
        }
    }
    printf "= %d %d\n", own, all
}
