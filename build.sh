#!/bin/sh
# Builds, tests, measures and checks francis.h. Without arguments it prints what it can do.
set -eu
cd "$(dirname "$0")"

usage() {
    cat <<'END'
usage: ./build.sh VERB [ARGUMENT ...]
  install-deps [build] [examples] [test] [lint]
                    install compilers, libraries and tools (default: all of them)
  deps-mbedtls36    build mbedTLS 3.6 for the tests, from the source package of a newer Debian
  examples          build examples/NAME.c into build/NAME
  demo              count the words of a book in durable actors, and kill it in the middle; let
                    three workers be a cluster, and kill some, also while alarms and jobs are due
  test [NAME ...]   run everything, or tests/test_NAME.c only; also: compile, examples, demo
  bench [--json]    run the benchmarks
  fuzz [SECONDS] [NAME ...]
                    run targets of tests/fuzz/fuzz.h, or all of them, 60 seconds each, from the
                    inputs in tests/fuzz/corpus; needs clang
  fuzz --merge [NAME ...]
                    put what was found since into the corpora, and leave out what adds nothing
  fuzz --canaries [NAME ...]
                    plant the bugs of tests/fuzz/canaries.txt, and see that each is found in time
  sim [--seeds N] [--first F] [--minutes M]
                    run simulated worlds, 500 or as many as that (tests/sim/campaign.c)
  sim --seed S [--verbose]
                    run that one, and print the hash of all that happened in it
  sim --bugs        plant the bugs of tests/sim/bugs.txt, and see that each is found
  coverage [NAME ...]
                    run tests, worlds, examples and demo with counters in the library, and tell
                    which branches of it nothing has taken; with names: run these tests again, and
                    add to the counts that are there; needs clang and llvm
  instructions [--update]
                    count the instructions of what is done often, and compare them with
                    tests/bench/instructions.txt, or write them there; needs valgrind
  ports [MACHINE ...]
                    tests and worlds on i386, armhf, arm64, s390x and musl, or these of them, and
                    whether all is the same on all of them; fetches what it needs for that
  lint              check layout, habits and what static analysis finds
  clean             remove build/
environment: CC, CXX, CFLAGS; SAN=address,undefined or SAN=thread; SAN=mbedtls36 or
             SAN=mbedtls36+thread: the tests of TLS with that library; SAN=no-threads with test
             turns, calls or jobs: those without workers, built with FRANCIS_NO_THREADS;
             JOBS (default: one per core, of tests one more); T_TIMEOUT (of a test program,
             default 300 seconds);
             T_LONG=1 with test worker: 2,000 jobs and 200 alarms, for a minute;
             XDG_CACHE_HOME (mbedTLS 3.6 is kept in francis/ there, default ~/.cache)
END
}

# ---- small things --------------------------------------------------------------------------------

CFLAGS=${CFLAGS:-}
SAN=${SAN:-}
warn_all='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wundef -Wcast-qual
    -Wformat=2 -Wvla -Werror'
warn_c='-Wstrict-prototypes -Wmissing-prototypes'
warn_test='-Wall -Wextra -Wshadow -Wmissing-prototypes -Werror'
tls_libs='-lmbedtls -lmbedx509 -lmbedcrypto'
libs="-lsqlite3 $tls_libs -lpthread -lm"

have() { command -v "$1" > /dev/null 2>&1; }
say()  { printf '%s\n' "$*"; }
die()  { say "build.sh: $*" >&2; exit 2; }
skip() { say "$*"; exit 77; }           # of an item: with its reason

# Milliseconds, where date can tell; for durations.
now() {
    now_ns=$(date +%s%N)
    case $now_ns in
    *[!0-9]*) say "$(date +%s)000" ;;
    *) say "${now_ns%??????}" ;;
    esac
}

seconds_since() {
    since_ms=$(($(now) - $1))
    say "$((since_ms / 1000)).$((since_ms % 1000 / 100))"
}

cores() {
    say "${JOBS:-$(nproc 2> /dev/null || getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)}"
}

# A directory for logs and scratch files, removed at the end. Not below build/: that may be mounted
# from elsewhere, and databases want a local file system.
make_scratch() {
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/francis-build.XXXXXX")
    export FRANCIS_BUILD_SCRATCH="$scratch"
    mkdir "$scratch/item"
    trap 'end_scratch' EXIT
    trap 'exit 130' INT HUP TERM
}

end_scratch() {
    for end_pid in "$scratch"/item/*.pid; do
        [ ! -f "$end_pid" ] || kill "$(cat "$end_pid")" 2> /dev/null || true
    done
    rm -rf "$scratch"
}

# ---- compilers -----------------------------------------------------------------------------------

# Homebrew's libraries are not on the compiler's own path.
if [ "$(uname -s)" = Darwin ] && have brew; then
    brew_dir=$(brew --prefix)
    CFLAGS="-I$brew_dir/include -L$brew_dir/lib $CFLAGS"
fi

first_of() {
    for first_name; do
        ! have "$first_name" || { say "$first_name"; return 0; }
    done
    return 1
}

plain_cc() { if [ -n "${CC:-}" ]; then say "$CC"; else first_of gcc cc clang || say cc; fi; }

# The C++ compiler that belongs to a C compiler.
cxx_of() {
    if [ -n "${CC:-}" ] && [ -n "${CXX:-}" ]; then
        say "$CXX"
    else
        say "$1" | sed -e 's/clang\([^/ ]*\)$/clang++\1/' -e t -e 's/gcc\([^/ ]*\)$/g++\1/' -e t \
            -e 's/cc$/c++/'
    fi
}

# A mode is "plain" or the value of SAN: sanitizers, "mbedtls36" (plain, with that library),
# "mbedtls36+" with sanitizers, or "no-threads" (plain, FRANCIS_NO_THREADS); or "coverage". Its
# counters live in a file that all processes of a program share, so that nothing is lost with a
# process that is killed.
mode_flags() {
    case $1 in
    plain) say "-O2 -g" ;;
    no-threads) say "$(mode_flags plain) -DFRANCIS_NO_THREADS=1" ;;
    mbedtls36) say "$(mode_flags plain) $(mbedtls36_flags)" ;;
    mbedtls36+*) say "$(mode_flags "${1#*+}") $(mbedtls36_flags)" ;;
    coverage) say "-O1 -g -fprofile-instr-generate -fcoverage-mapping -fprofile-update=atomic" \
        "-mllvm -runtime-counter-relocation" ;;
    address*) say "-DFRANCIS_DEBUG=1 -O1 -g -fno-omit-frame-pointer -fsanitize=$1" \
        "-fno-sanitize-recover=all" ;;
    *) say "-O1 -g -fno-omit-frame-pointer -fsanitize=$1 -fno-sanitize-recover=all" ;;
    esac
}

mode_libs() { case $1 in mbedtls36*) say "-L$(mbedtls36_dir)/lib" ;; esac; }

mode_dir() { say "build/$1" | tr ',' '+'; }

# The compiler of a mode: the first whose programs run with that sanitizer; or nothing.
mode_cc() {
    mode_known=${FRANCIS_BUILD_SCRATCH:-/nowhere}/cc-$(say "$1" | tr ',' '+')
    if [ -f "$mode_known" ]; then
        cat "$mode_known"
    elif [ "$1" = plain ] || [ "$1" = mbedtls36 ] || [ "$1" = no-threads ]; then
        plain_cc
    elif [ "${1#mbedtls36+}" != "$1" ]; then
        mode_cc "${1#*+}"
    elif [ "$1" = coverage ]; then
        coverage_cc
    elif [ -n "${CC:-}" ]; then
        say "$CC"
    else
        mkdir -p build/probe
        for mode_try in clang gcc cc; do
            # shellcheck disable=SC2046  # words
            if have "$mode_try" && "$mode_try" $(mode_flags "$1") tests/compile/sanitizer.c \
                -o "build/probe/$$" -lpthread > /dev/null 2>&1 && "build/probe/$$" > /dev/null 2>&1
            then
                say "$mode_try"
                break
            fi
        done
        rm -f "build/probe/$$"
    fi
}

# make_with OUT COMMAND...: runs COMMAND... -o OUT, unless the same command made OUT from files that
# have not changed since it started. OUT.d lists these, OUT.cmd has the command and its time.
make_with() {
    out=$1
    shift
    if [ -f "$out" ] && [ -f "$out.d" ] && [ "$(cat "$out.cmd" 2> /dev/null)" = "$*" ]; then
        deps=$(sed -e 's/^[^:]*: *//' -e 's/\\$//' "$out.d")
        for arg; do
            case $arg in *.o) deps="$deps $arg" ;; esac
        done
        # shellcheck disable=SC2086  # words
        [ -n "$(find $deps -newer "$out.cmd" 2>&1)" ] || return 0
    fi
    mkdir -p "$(dirname "$out")"
    say "$*" > "$out.$$.cmd"
    "$@" -MMD -MF "$out.$$.d" -o "$out.$$" || { rm -f "$out.$$"*; return 1; }
    for make_part in '' .d .cmd; do         # all at once: another build may run beside this one
        mv -f "$out.$$$make_part" "$out$make_part"
    done
}

# The library as one object of a mode.
build_object() {
    scratch=${FRANCIS_BUILD_SCRATCH:-/nowhere}
    ! grep -q FAILED "$(item_file "object $1").result" 2> /dev/null ||
        die "the library could not be built"
    # shellcheck disable=SC2046,SC2086
    make_with "$(mode_dir "$1")/francis.o" $(mode_cc "$1") -std=c11 $warn_test -I. \
        $(mode_flags "$1") $CFLAGS -c tests/compile/implementation.c
}

has_own_copy() { grep -q '^[ ]*#[ ]*define[ ][ ]*FRANCIS_IMPLEMENTATION' "$1"; }

# build_program MODE SOURCE OUT FLAG...: linked with that object, unless it has a copy of its own,
# and with $program_libs.
build_program() {
    program_mode=$1 program_source=$2 program_out=$3
    shift 3
    program_object=
    if ! has_own_copy "$program_source"; then
        build_object "$program_mode"
        program_object=$(mode_dir "$program_mode")/francis.o
    fi
    # shellcheck disable=SC2046,SC2086
    make_with "$program_out" $(mode_cc "$program_mode") -std=c11 "$@" \
        $(mode_flags "$program_mode") $CFLAGS "$program_source" $program_object $program_libs \
        $(mode_libs "$program_mode") $libs
}

build_example() {
    # shellcheck disable=SC2046,SC2086
    make_with "$3" $(mode_cc "$1") -std=c11 $warn_all $warn_c -I. $(mode_flags "$1") $CFLAGS \
        "examples/$2.c" $(example_libs "$2") $libs
}

# What an example needs besides: the libraries, and what is missing of them.
example_libs() { case $1 in worker) say -lmicrohttpd ;; esac; }

example_lack() {
    [ "$1" != worker ] || can_build microhttpd.h -lmicrohttpd || say "no libmicrohttpd"
}

# build_demo MODE DIRECTORY: what the demo runs, and $demo_command.
build_demo() {
    for demo_example in quickstart worker; do
        build_example "$1" "$demo_example" "$2/$demo_example"
    done
    # shellcheck disable=SC2046,SC2086
    make_with "$2/demo-cluster" $(mode_cc "$1") -std=c11 $warn_test -Itests/support \
        $(mode_flags "$1") $CFLAGS tests/demo/cluster.c -lpthread
    demo_command="sh tests/demo/demo.sh $2/quickstart tests/demo/text.txt $2/demo-cluster $2/worker"
}

# ---- dependencies --------------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif have sudo; then sudo "$@"
    else die "'$*' needs root, and there is no sudo"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@"
}

# one_by_one COMMAND...: installs what $want lists.
one_by_one() {
    for package in $want; do
        "$@" "$package" || say "(goes without $package)"
    done
}

# install_deps GROUP...: what must be there in one go, what is merely welcome one by one.
install_deps() {
    need='' want=''
    if have apt-get; then
        for group; do
            case $group in
            build) need="$need gcc libc6-dev libsqlite3-dev libmbedtls-dev" ;;
            examples) want="$want libmicrohttpd-dev" ;;
            test) need="$need gcc g++ libc6-dev libsqlite3-dev libmbedtls-dev libcmocka-dev"
                want="$want libmicrohttpd-dev curl tzdata"
                want="$want clang gcc-multilib musl-tools libclang-rt-dev valgrind" ;;
            lint) need="$need clang-format cppcheck shellcheck" want="$want clang-tidy" ;;
            esac
        done
        # shellcheck disable=SC2086
        apt_get $need || { as_root apt-get -q update; apt_get $need; }
        one_by_one apt_get
        # Where the sanitizers of clang have a package for each version.
        clang_version=$(clang -dumpversion 2> /dev/null) || return 0
        clang "-print-file-name=libclang_rt.asan-$(uname -m).a" | grep -q / ||
            apt_get "libclang-rt-${clang_version%%.*}-dev" || say "(without clang's sanitizers)"
    elif have apk; then
        for group; do
            case $group in
            build) need="$need gcc musl-dev sqlite-dev mbedtls-dev" ;;
            examples) want="$want libmicrohttpd-dev" ;;
            test) need="$need gcc g++ musl-dev sqlite-dev mbedtls-dev cmocka-dev"
                want="$want libmicrohttpd-dev curl tzdata clang compiler-rt coreutils valgrind" ;;
            lint) need="$need clang-extra-tools cppcheck shellcheck" ;;
            esac
        done
        # shellcheck disable=SC2086
        as_root apk add $need
        one_by_one as_root apk add
    elif have dnf; then
        for group; do
            case $group in
            build) need="$need gcc sqlite-devel mbedtls-devel" ;;
            examples) want="$want libmicrohttpd-devel" ;;
            test) need="$need gcc gcc-c++ sqlite-devel mbedtls-devel libcmocka-devel"
                want="$want libmicrohttpd-devel curl tzdata"
                want="$want clang compiler-rt libasan libubsan libtsan glibc-devel.i686 musl-gcc"
                want="$want valgrind" ;;
            lint) need="$need clang-tools-extra cppcheck ShellCheck" ;;
            esac
        done
        # shellcheck disable=SC2086
        as_root dnf -q -y install $need
        one_by_one as_root dnf -q -y install
    elif have brew; then
        for group; do
            case $group in
            build) need="$need sqlite mbedtls@3" ;;
            examples) want="$want libmicrohttpd" ;;
            test) need="$need sqlite mbedtls@3 cmocka" want="$want libmicrohttpd coreutils" ;;
            lint) need="$need clang-format cppcheck shellcheck" ;;
            esac
        done
        # shellcheck disable=SC2086
        brew install -q $need
        one_by_one brew install -q
        have cc || die "run 'xcode-select --install' for the C compiler"
    else
        die "no apt-get, apk, dnf or brew here: install a C compiler, sqlite3, mbedTLS and cmocka"
    fi
}

# can_build HEADER LIBRARY...
can_build() {
    mkdir -p build/probe
    header=$1
    shift
    printf '#include <%s>\n' stdarg.h stddef.h setjmp.h stdint.h "$header" > "build/probe/$$.c"
    say 'int main(void) { return 0; }' >> "build/probe/$$.c"
    # shellcheck disable=SC2046,SC2086
    $(plain_cc) $CFLAGS "build/probe/$$.c" -o "build/probe/$$" "$@" > /dev/null 2>&1
    can_code=$?
    rm -f "build/probe/$$" "build/probe/$$.c"
    return $can_code
}

# Prints what a group lacks.
missing() {
    case $1 in
    build)
        can_build stdio.h || say "a C compiler"
        can_build sqlite3.h -lsqlite3 || say "sqlite3"
        # shellcheck disable=SC2086  # words
        can_build mbedtls/ssl.h $tls_libs || say "mbedTLS" ;;
    examples)
        missing build
        [ -z "$(example_lack worker)" ] || say "libmicrohttpd (optional)" ;;
    test)
        missing examples
        can_build cmocka.h -lcmocka || say "cmocka"
        have curl || say "curl (optional)"
        [ -d /usr/share/zoneinfo ] || say "the time zone database (optional)"
        [ -n "${CC:-}" ] || have clang || say "clang (optional)"
        cxx=$(cxx_of "$(plain_cc)")
        have "${cxx%% *}" || say "a C++ compiler (optional)" ;;
    lint)
        for tool in clang-format cppcheck shellcheck; do have "$tool" || say "$tool"; done ;;
    esac
}

# require GROUP: installs what is missing; what is optional is tried once.
require() {
    [ -z "${CC:-}" ] || have "${CC%% *}" || die "CC=$CC: there is no ${CC%% *}"
    lack=$(missing "$1")
    case $lack in
    '') return 0 ;;
    *'(optional)'*)
        [ ! -f "build/probe/tried-$1" ] || lack=$(say "$lack" | grep -v '(optional)' || true) ;;
    esac
    [ -n "$lack" ] || return 0
    say "missing: $(say "$lack" | paste -s -d , -)"
    (install_deps "$1") || say "(not everything could be installed)"
    mkdir -p build/probe
    say "$lack" > "build/probe/tried-$1"
    lack=$(missing "$1" | grep -v '(optional)' || true)
    [ -z "$lack" ] || die "still missing: $(say "$lack" | paste -s -d , -)"
}

# ---- mbedTLS 3.6 ---------------------------------------------------------------------------------
# What the tests use beside the library of the system. It is built once, from the source package of
# this Debian release, with the configuration of that package, and kept outside of the tree.

mbedtls36_release=trixie
mbedtls36_tests='cluster streams versions security net'   # of TLS: these run with it as well

mbedtls36_dir() {
    say "${XDG_CACHE_HOME:-${HOME:-}/.cache}/francis/mbedtls-3.6-$(plain_cc_target)"
}

plain_cc_target() { $(plain_cc) -dumpmachine 2> /dev/null || uname -m; }

mbedtls36_flags() { say "-isystem $(mbedtls36_dir)/include"; }

mbedtls36_there() { [ -f "$(mbedtls36_dir)/lib/libmbedtls.a" ]; }

mbedtls36_usable() { mbedtls36_differs && mbedtls36_there; }

# Whether the library of the system is another one: else there is nothing to compare with.
mbedtls36_differs() {
    # shellcheck disable=SC2086  # words
    ! printf '%s\n' '#include <mbedtls/version.h>' '#if MBEDTLS_VERSION_NUMBER < 0x03060000' \
        '#error older' '#endif' | $(plain_cc) $CFLAGS -fsyntax-only -x c - > /dev/null 2>&1
}

# Makes it unless it is there. Exits with 77 and the reason where that is not possible.
mbedtls36() {
    mbedtls36_differs || skip "mbedTLS of this system is 3.6 itself"
    ! mbedtls36_there || return 0
    have apt-get || skip "no apt-get here, which could fetch the source of mbedTLS 3.6"
    cache=$(dirname "$(mbedtls36_dir)")
    mkdir -p "$cache" 2> /dev/null || skip "$cache cannot be made, where mbedTLS 3.6 would be kept"
    [ -w "$cache" ] || skip "$cache cannot be written, where mbedTLS 3.6 would be kept"
    mbedtls36_work=$(mktemp -d "${TMPDIR:-/tmp}/francis-mbedtls.XXXXXX")
    trap 'rm -rf "$mbedtls36_work"' EXIT
    trap 'exit 130' INT HUP TERM
    mbedtls36_source "$mbedtls36_work"
    mbedtls36_make "$mbedtls36_work"/mbedtls-3.6*/ "$cache"
}

# apt_sources TYPE [SUITE]: the mirror of this machine, if it is a Debian, and its list of keys.
apt_sources() {
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016  # expanded by apt-get
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' \
        'Created-By: Packages' | sort -u | while read -r uri suite component origin; do
        [ "$suite $component $origin" != "$codename main Debian" ] ||
            printf '%s\n' "Types: $1" "URIs: $uri" "Suites: ${2:-$codename}" \
                'Components: main' "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"
    done | head -n 5
}

# private_apt DIRECTORY ARGUMENT...: apt-get with lists and sources of its own, in DIRECTORY.
# Whatever is not signed is refused.
private_apt() {
    apt_dir=$1
    shift
    (cd "$apt_dir" && apt-get -q -o Dir::Etc::SourceList="$apt_dir/apt.sources" \
        -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$apt_dir/lists" \
        -o Dir::Cache="$apt_dir/cache" -o Acquire::Languages=none \
        -o Acquire::AllowInsecureRepositories=false -o APT::Get::AllowUnauthenticated=false \
        -o APT::Update::Error-Mode=any "$@")
}

# private_update DIRECTORY TYPE SUITE ARGUMENT...: makes such lists.
private_update() {
    update_dir=$1 update_type=$2 update_suite=$3
    shift 3
    mkdir "$update_dir/lists" "$update_dir/lists/partial" "$update_dir/cache"
    chmod 755 "$update_dir"
    [ "$(id -u)" != 0 ] || chown _apt "$update_dir" "$update_dir/lists/partial" 2> /dev/null || true
    apt_sources "$update_type" "$update_suite" > "$update_dir/apt.sources"
    [ -s "$update_dir/apt.sources" ] ||
        skip "apt has no lists of a Debian release ('apt-get update' fetches them)"
    if ! private_apt "$update_dir" "$@" update; then
        say "(trying again with the newest list of keys)"
        (apt_get debian-archive-keyring) || true
        private_apt "$update_dir" "$@" update ||
            skip "an index of packages cannot be fetched, or its signature not verified"
    fi
}

# Fetches the source into a directory, verified by apt, and unpacks it.
mbedtls36_source() {
    if ! have dpkg-source || ! have make; then
        (apt_get dpkg-dev make) || skip "dpkg-source and make could not be installed"
    fi
    private_update "$1" deb-src "$mbedtls36_release"
    private_apt "$1" source mbedtls || skip "the source of mbedTLS cannot be fetched"
    [ -d "$(say "$1"/mbedtls-3.6*/)" ] || skip "$mbedtls36_release has no mbedTLS 3.6"
}

# mbedtls36_make SOURCE CACHE: static libraries and headers. Another build may run beside this one:
# what is complete gets its name at once, and the first one stays.
mbedtls36_make() {
    config=$1/include/mbedtls/mbedtls_config.h
    sed -n 's/^[[:space:]]*scripts\/config.py set \([A-Z0-9_]*\)$/\1/p' "$1/debian/rules" \
        > "$1/switches"
    [ -s "$1/switches" ] || die "debian/rules of mbedTLS does not say how it is configured"
    while read -r switch; do
        sed "s|^//#define $switch\$|#define $switch|" "$config" > "$config.new"
        grep -q "^#define $switch\$" "$config.new" || die "mbedTLS has no switch $switch"
        mv "$config.new" "$config"
    done < "$1/switches"
    make -s -C "$1/library" -j "$(cores)" GEN_FILES= CC="$(plain_cc)" \
        CFLAGS="-O2 -g -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2" static
    made=$(mktemp -d "$2/making.XXXXXX")
    mkdir "$made/lib"
    cp "$1/library"/libmbed*.a "$made/lib/"
    cp -r "$1/include" "$made/include"
    dpkg-parsechangelog -l "$1/debian/changelog" -S Version > "$made/version"
    chmod 755 "$made"
    mv -T "$made" "$(mbedtls36_dir)" 2> /dev/null || rm -rf "$made"
    mbedtls36_there
}

deps_mbedtls36() {
    require build
    deps_code=0
    (mbedtls36) || deps_code=$?
    case $deps_code in
    0) say "mbedTLS $(cat "$(mbedtls36_dir)/version") is in $(mbedtls36_dir)" ;;
    77) say "skipped, see the line above" ;;
    esac
    return $deps_code
}

# ---- other machines ------------------------------------------------------------------------------
# clang compiles for all of them; what it needs of each, C library and headers included, is taken
# from this Debian release and unpacked into a directory of its own. Nothing of another architecture
# is installed. Programs run under qemu-user, those for i386 as they are.

port_dir() {
    say "${XDG_CACHE_HOME:-${HOME:-}/.cache}/francis/ports-$(sed -n \
        's/^VERSION_CODENAME=//p' /etc/os-release)/$1"
}

port_target() {
    case $1 in
    i386) say i386-linux-gnu ;;
    armhf) say arm-linux-gnueabihf ;;
    arm64) say aarch64-linux-gnu ;;
    s390x) say s390x-linux-gnu ;;
    *) die "no such machine: $1" ;;
    esac
}

port_there() { [ -f "$(port_dir "$1")/complete" ]; }

# port PORT: makes its directory. Exits with 77 and the reason where that is not possible.
port_make() {
    ! port_there "$1" || return 0
    have apt-get || skip "no apt-get here, which could fetch what $1 needs"
    port_parent=$(dirname "$(port_dir "$1")")
    mkdir -p "$port_parent" 2> /dev/null || skip "$port_parent cannot be made"
    port_work=$(mktemp -d "${TMPDIR:-/tmp}/francis-port.XXXXXX")
    trap 'rm -rf "$port_work"' EXIT
    trap 'exit 130' INT HUP TERM
    mkdir "$port_work/made"
    case $1 in
    musl) port_compile "$port_work" ;;
    *) port_unpack "$port_work" "$1" ;;
    esac
    touch "$port_work/made/complete"
    chmod 755 "$port_work/made"
    cp -r "$port_work/made" "$(port_dir "$1").$$"
    mv -T "$(port_dir "$1").$$" "$(port_dir "$1")" 2> /dev/null || rm -rf "$(port_dir "$1").$$"
    port_there "$1"
}

# port_unpack DIRECTORY PORT: packages of a foreign architecture, verified by apt.
port_unpack() {
    : > "$1/status"
    set -- "$1" "$2" -o "APT::Architecture=$2" -o "APT::Architectures=$2" \
        -o "Dir::State::status=$1/status" -o APT::Install-Recommends=false -o Debug::NoLocking=1 \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    port_work=$1
    shift 2
    private_update "$port_work" deb '' "$@"
    port_gcc=$(gcc -dumpversion 2> /dev/null || say 12)
    private_apt "$port_work" "$@" --download-only -y install libc6-dev "libgcc-$port_gcc-dev" \
        libsqlite3-dev libmbedtls-dev libcmocka-dev ||
        skip "packages of another architecture cannot be fetched"
    for port_package in "$port_work"/cache/archives/*.deb; do
        dpkg-deb -x "$port_package" "$port_work/made"
    done
}

# port_compile DIRECTORY: musl has no packages of libraries; they are built from the sources of this
# release, SQLite with the switches that Debian builds it with.
port_compile() {
    have musl-gcc || (apt_get musl-tools) || skip "no musl-gcc"
    have dpkg-source || (apt_get dpkg-dev) || skip "no dpkg-source"
    if ! have make || ! have tclsh; then
        (apt_get make tcl) || skip "make and tclsh, which put SQLite together, cannot be installed"
    fi
    private_update "$1" deb-src ''
    private_apt "$1" source sqlite3 mbedtls cmocka || skip "the sources cannot be fetched"
    mkdir -p "$1/made/lib" "$1/made/include" "$1/sqlite"
    port_sqlite=$(say "$1"/sqlite3-*/)
    (cd "$1/sqlite" && "$port_sqlite/configure" --disable-tcl --disable-readline > configure.log &&
        make -s sqlite3.c)
    port_switches=$(grep -o -e '-DSQLITE_[A-Z0-9_]*\(=[0-9]*\)\{0,1\}' "$port_sqlite/debian/rules")
    # shellcheck disable=SC2086  # words
    (cd "$1/sqlite" && musl-gcc -O2 -w $port_switches -c sqlite3.c)
    make -s -C "$1"/mbedtls-*/library CC=musl-gcc CFLAGS=-O2 static
    musl-gcc -O2 -w -DHAVE_STDINT_H=1 -DHAVE_INTTYPES_H=1 -DHAVE_SIGNAL_H=1 -DHAVE_UNISTD_H=1 \
        -DHAVE_STRUCT_TIMESPEC=1 -DHAVE_CLOCK_GETTIME=1 -DHAVE_CLOCK_REALTIME=1 \
        -DHAVE_GCC_THREAD_LOCAL_STORAGE=1 -I "$(say "$1"/cmocka-*/include)" \
        -c "$(say "$1"/cmocka-*/src/cmocka.c)" -o "$1/cmocka.o"
    ar rcs "$1/made/lib/libsqlite3.a" "$1/sqlite/sqlite3.o"
    ar rcs "$1/made/lib/libcmocka.a" "$1/cmocka.o"
    cp "$1"/mbedtls-*/library/*.a "$1/made/lib/"
    cp -r "$1"/mbedtls-*/include/* "$1"/cmocka-*/include/*.h "$1/sqlite/sqlite3.h" \
        "$1/made/include/"
}

# port_build PORT SOURCE OUT FLAG...
port_build() {
    port_root=$(port_dir "$1") port_source=$2 port_out=$3
    port_name=$1
    shift 3
    port_libs="-lcmocka $libs"
    case $port_name in
    musl)
        port_cc="musl-gcc -isystem $port_root/include"
        port_libs="-static -L$port_root/lib $port_libs" ;;
    *)
        port_triple=$(port_target "$port_name")
        port_cc="clang --target=$port_triple --sysroot=$port_root"
        port_libs="-Wl,--as-needed -latomic $port_libs"
        port_libs="-Wl,-rpath,$port_root/usr/lib/$port_triple $port_libs" ;;
    esac
    [ "$port_name" != i386 ] ||
        port_libs="-Wl,--dynamic-linker=$port_root/lib/ld-linux.so.2 \
            -Wl,-rpath,$port_root/lib/$port_triple $port_libs"
    case $port_out in *.o) port_libs= ;; esac
    # shellcheck disable=SC2086
    make_with "$port_out" $port_cc -std=c11 $warn_test -O2 -g $CFLAGS "$port_source" "$@" $port_libs
}

# port_run PORT PROGRAM ARGUMENT...
port_run() {
    port_name=$1
    shift
    case $port_name in
    native | musl | i386) limited "$@" ;;
    armhf) limited qemu-arm -L "$(port_dir armhf)" "$@" ;;
    arm64) limited qemu-aarch64 -L "$(port_dir arm64)" "$@" ;;
    s390x) limited qemu-s390x -L "$(port_dir s390x)" "$@" ;;
    esac
}

# ---- items: the single pieces of work of test and lint -------------------------------------------
# An item is a line of words: a kind, and what it is about. One process of this script does one item
# (verb "_item"), as many side by side as there are cores.

# run_items [JOBS]: takes items from standard input, does them, and prints a line for each.
run_items() { xargs -P "${1:-$(cores)}" -I '{}' sh build.sh _item '{}' || true; }

item_file() { say "$scratch/item/$(printf '%s' "$1" | tr -c 'A-Za-z0-9.+-' '_')"; }

one_item() {
    scratch=$FRANCIS_BUILD_SCRATCH
    item_base=$(item_file "$1")
    item_start=$(now)
    set +e
    # shellcheck disable=SC2086
    (
        set -e
        do_item $1
    ) > "$item_base.log" 2>&1
    item_code=$?
    set -e
    item_note=
    case $item_code in
    0) item_word=ok item_result="1 0 0" ;;
    77) item_word=skipped item_result="0 0 1" item_note=": $(tail -n 1 "$item_base.log")" ;;
    *) item_word=FAILED item_result="0 1 0" ;;
    esac
    if [ -f "$item_base.cases" ]; then                              # it counted by itself
        item_result=$(cat "$item_base.cases")
        item_note=$(awk '{ printf " (%d passed, %d failed, %d skipped)", $1, $2, $3 }' \
            "$item_base.cases")
    fi
    case "$item_word ${1%% *}" in 'ok object' | 'ok copy') item_result="0 0 0" ;; esac
    say "$item_word $item_result" > "$item_base.result"
    printf '%-7s %6s s  %s%s\n' "$item_word" "$(seconds_since "$item_start")" "$1" "$item_note"
}

# item_totals FILE_OF_ITEMS: prints what the failed ones had said; sets passed, failed, skipped.
item_totals() {
    while read -r total_item; do
        total_base=$(item_file "$total_item")
        if [ ! -f "$total_base.result" ]; then
            say "FAILED 0 1 0" > "$total_base.result"
            say "it did not finish" > "$total_base.log"
        fi
        case $(cat "$total_base.result") in
        FAILED*) printf '\n==== %s ====\n' "$total_item"; cat "$total_base.log" ;;
        esac
        cat "$total_base.result" >> "$scratch/results"
    done < "$1"
    # shellcheck disable=SC2046
    set -- $(awk '{ p += $2; f += $3; s += $4 } END { print p + 0, f + 0, s + 0 }' \
        "$scratch/results")
    passed=$1 failed=$2 skipped=$3
}

do_item() {
    item="$*"
    kind=$1
    shift
    case $kind in
    object) build_object "$1" ;;
    copy) do_copy "$@" ;;
    test) do_test "$@" ;;
    example) do_example "$@" ;;
    demo) do_demo "$@" ;;
    sim) do_sim "$@" ;;
    simhash) do_simhash ;;
    instructions) do_instructions ;;
    port) do_port "$@" ;;
    port-sim) do_port_sim "$@" ;;
    port-same) do_port_same "$@" ;;
    simbugs) sim_bugs "$@" ;;
    header | header++ | implementation | implementation++ | simulator | simulator++ | 32-bit | \
        musl)
        do_compile "$kind" "$@" ;;
    mbedtls36)
        CFLAGS="$(mbedtls36_flags) $CFLAGS"
        do_compile "$@" ;;
    program) do_program "$@" ;;
    symbols) do_symbols "$@" ;;
    fail) do_fail "$@" ;;
    lint) do_lint "$@" ;;
    *) die "no such item: $item" ;;
    esac
}

# ---- items: programs that run --------------------------------------------------------------------

# limited COMMAND...: with a time limit and a directory of its own. The number of the process is
# kept for the case that all is broken off.
limited() {
    limit_base=$(item_file "$item")
    mkdir -p "$limit_base.tmp"
    limit=$(first_of timeout gtimeout) || limit=
    limit_code=0
    # shellcheck disable=SC2016,SC2086  # expanded by the inner shell; words
    TMPDIR=$limit_base.tmp sh -c 'echo $$ > "$0"; exec "$@"' "$limit_base.pid" \
        ${limit:+"$limit" -k 10 "${T_TIMEOUT:-300}"} "$@" < /dev/null || limit_code=$?
    rm -rf "$limit_base.pid" "$limit_base.tmp"
    case $limit_code in
    124) say "(stopped after the time limit of ${T_TIMEOUT:-300} seconds)" ;;
    137) say "(killed)" ;;
    esac
    return $limit_code
}

# Sanitizers report into files, so that what a child process does wrong is seen as well.
sanitizer_options() {
    san_log=$(item_file "$item").san
    san_all="log_path=$san_log:halt_on_error=1"
    san_leak=1                              # where a process may not look at itself: without
    case $(uname -s) in Darwin) san_leak=0 ;; esac
    export ASAN_OPTIONS="$san_all:detect_leaks=$san_leak:${ASAN_OPTIONS:-}"
    export UBSAN_OPTIONS="$san_all:print_stacktrace=1:${UBSAN_OPTIONS:-}"
    export TSAN_OPTIONS="$san_all:die_after_fork=0:second_deadlock_stack=1:${TSAN_OPTIONS:-}"
}

# Prints the reports; true if there are any.
sanitizer_reports() {
    san_any=1
    for san_file in "$san_log".*; do
        [ ! -f "$san_file" ] || { cat "$san_file"; san_any=0; }
    done
    return $san_any
}

# The example that its test runs, in the same mode.
test_worker() {
    example_without=$(example_lack worker)
    [ -z "$example_without" ] || skip "$example_without"
    T_WORKER=$(mode_dir "$1")/examples/worker
    export T_WORKER
    build_example "$1" worker "$T_WORKER"
}

# build_other NAME MODE: the same test with the other mbedTLS, for the program of MODE to start.
build_other() {
    case $2 in mbedtls36*) other=plain ;; *) other=mbedtls36 ;; esac
    if ! mbedtls36_usable; then
        say "(there is only one mbedTLS)"
        return
    fi
    # shellcheck disable=SC2086
    build_program $other "tests/test_$1.c" "$(mode_dir $other)/test_$1" $warn_test -I. \
        -Itests/support
    T_OTHER=$(mode_dir $other)/test_$1
    export T_OTHER
}

# do_port PORT NAME: one program of tests on another machine.
do_port() {
    port_object=
    if ! has_own_copy "tests/test_$2.c"; then
        port_object=build/ports/$1/francis.o
        port_build "$1" tests/compile/implementation.c "$port_object" -I. -c
    fi
    # shellcheck disable=SC2086  # none, or one
    port_build "$1" "tests/test_$2.c" "build/ports/$1/test_$2" -I. -Itests/support $port_object
    case $1 in musl | i386) unset T_SLOW ;; *) export T_SLOW=1 ;; esac
    sanitizer_options
    export CMOCKA_MESSAGE_OUTPUT=TAP
    test_code=0
    T_TIMEOUT=900 port_run "$1" "build/ports/$1/test_$2" || test_code=$?
    count_cases
    return $test_code
}

# do_port_sim PORT SEEDS: as many worlds of the campaign.
do_port_sim() {
    port_build "$1" tests/sim/campaign.c "build/ports/$1/campaign" -I. -Itests -Itests/support
    T_TIMEOUT=900 port_run "$1" "build/ports/$1/campaign" --seeds "$2"
}

# do_port_same PORT...: the worlds of tests/ports/port.c, byte for byte the same on each machine as
# here, and a database that goes from one to the other and back.
do_port_same() {
    program_libs=
    # shellcheck disable=SC2086
    build_program plain tests/ports/port.c build/ports/native/port $warn_test -I.
    same_here=$(port_run native build/ports/native/port worlds 50)
    same_file=$(item_file "$item").db same_number=1 same_code=0
    rm -f "$same_file"*
    port_run native build/ports/native/port file "$same_file" 0
    for same_port; do
        port_build "$same_port" tests/ports/port.c "build/ports/$same_port/port" -I.
        same_there=$(T_TIMEOUT=900 port_run "$same_port" "build/ports/$same_port/port" worlds 50)
        say "$same_port: $same_there, here: $same_here"
        [ "$same_there" = "$same_here" ] || same_code=1
        port_run "$same_port" "build/ports/$same_port/port" file "$same_file" "$same_number"
        port_run native build/ports/native/port file "$same_file" $((same_number + 1))
        same_number=$((same_number + 2))
    done
    return $same_code
}

# do_test NAME MODE: one program; counts its cases from cmocka's TAP lines.
do_test() {
    program_libs=-lcmocka
    # shellcheck disable=SC2086
    build_program "$2" "tests/test_$1.c" "$(mode_dir "$2")/test_$1" $warn_test -I. -Itests/support
    [ "$1" != worker ] || test_worker "$2"
    case $2 in plain | mbedtls36 | coverage) unset T_SLOW ;; *) export T_SLOW=1 ;; esac
    test_which=
    case $2 in no-threads) test_which='*no workers*' ;; esac
    [ "$1" != versions ] || build_other "$@"
    sanitizer_options
    export CMOCKA_MESSAGE_OUTPUT=TAP
    test_code=0
    limited "$(mode_dir "$2")/test_$1" ${test_which:+"$test_which"} || test_code=$?
    test_base=$(item_file "$item")
    # What a failed case leaves behind is no leak worth pages.
    ! grep -q 'not ok [0-9]* - ' "$test_base.log" || for test_leaks in "$san_log".*; do
        ! grep -q 'LeakSanitizer: detected' "$test_leaks" 2> /dev/null || {
            grep SUMMARY "$test_leaks"
            rm "$test_leaks"
        }
    done
    test_reported=0
    ! sanitizer_reports || test_reported=1
    count_cases
    return $test_code
}

# Counts the cases of a program that has ended with $test_code, into the file of the item.
count_cases() {
    test_base=$(item_file "$item")
    awk -v code="$test_code" -v reported="${test_reported:-0}" '
        /^1\.\.[0-9]+$/                 { planned += substr($0, 4) }
        /not ok [0-9]+ - /              { failed++; next }
        /ok [0-9]+ # [Ss][Kk][Ii][Pp]/  { skipped++; next }
        /ok [0-9]+ - /                  { passed++ }
        END {
            done = passed + failed + skipped
            if (done == 0 || done < planned)        why = "not all of its cases ended"
            else if (reported)                      why = "a sanitizer complained"
            else if (code != 0 && failed == 0)      why = "the program failed without a case"
            if (why != "")
                printf "(%s; exit code %d)\n", why, code > "/dev/stderr"
            print passed + 0, failed + (why != ""), skipped + 0
        }' "$test_base.log" > "$test_base.cases"
}

# do_example NAME MODE: builds it, and runs it where a script says what to expect.
do_example() {
    example=$(mode_dir "$2")/examples/$1
    example_without=$(example_lack "$1")
    [ -z "$example_without" ] || skip "$example_without"
    build_example "$2" "$1" "$example"
    [ -f "examples/expected/$1.sh" ] || return 0
    sanitizer_options
    mkdir -p "$(item_file "$item").dir"
    example_code=0
    limited sh "examples/expected/$1.sh" "$PWD/$example" "$(item_file "$item").dir" ||
        example_code=$?
    ! sanitizer_reports || example_code=1
    return $example_code
}

# do_demo MODE
do_demo() {
    example_without=$(example_lack worker)
    [ -z "$example_without" ] || skip "$example_without"
    build_demo "$1" "$(mode_dir "$1")/examples"
    # shellcheck disable=SC2086  # words
    limited $demo_command
}

# do_sim MODE SEEDS FIRST
do_sim() {
    build_campaign "$1"
    sanitizer_options
    sim_code=0
    T_TIMEOUT=900 limited "$(mode_dir "$1")/campaign" --seeds "$2" --first "$3" || sim_code=$?
    ! sanitizer_reports || sim_code=1
    tail -n 1 "$(item_file "$item").log"
    return $sim_code
}

# What the counts of instructions depend on beside the sources.
instructions_made_with() {
    # shellcheck disable=SC2086  # words
    made_versions=$(printf '%s\n' '#include <sqlite3.h>' '#include <mbedtls/version.h>' \
        'SQLite SQLITE_VERSION, mbedTLS MBEDTLS_VERSION_STRING' |
        $(plain_cc) $CFLAGS -E -P - 2> /dev/null | tail -n 1 | tr -d '"')
    # shellcheck disable=SC2086
    say "made with $(plain_cc) $($(plain_cc) -dumpfullversion 2> /dev/null) for" \
        "$(plain_cc_target), $made_versions"
}

# Counts the instructions of each operation of tests/bench/instructions.c, into a file.
instructions_count() {
    program_libs=
    # shellcheck disable=SC2086
    build_program plain tests/bench/instructions.c build/bench/instructions $warn_test -I.
    build/bench/instructions | while read -r count_name count_times; do
        valgrind -q --tool=callgrind --toggle-collect=measured "--callgrind-out-file=$1.calls" \
            build/bench/instructions "$count_name" || die "$count_name cannot be counted"
        awk -f tests/bench/instructions.awk "$1.calls" |
            awk -v name="$count_name" -v times="$count_times" \
                '$1 == "=" { printf "%s %d %d\n", name, $2 / times, $3 / times }'
    done > "$1"
    rm -f "$1.calls"
    [ "$(wc -l < "$1")" = "$(build/bench/instructions | wc -l)" ]
}

# Compares them with the figures in the tree: a change that makes an operation dearer, or cheaper,
# is to say so in them.
do_instructions() {
    have valgrind || skip "no valgrind"
    instructions_old=tests/bench/instructions.txt
    instructions_with=$(instructions_made_with)
    grep -q -x -F "# $instructions_with" "$instructions_old" ||
        skip "the figures were $(sed -n 's/^# \(made with\)/\1/p' "$instructions_old"), and here" \
            "they would be $instructions_with"
    instructions_new=$(item_file "$item").counts
    instructions_count "$instructions_new"
    awk -v most=4 '
        /^#/        { next }
        NR == FNR   { old[$1] = $2; next }
        {
            change = $1 in old ? ($2 - old[$1]) * 100 / old[$1] : 1000
            printf "%-10s %7d  %+.1f %%\n", $1, $2, change
            if (change > most || change < -most)
                bad = 1
        }
        END {
            if (bad)
                print "more than " most " % off: if that is meant, ./build.sh instructions --update"
            exit bad
        }' "$instructions_old" "$instructions_new"
}

# instructions [--update]
instructions() {
    require build
    make_scratch
    have valgrind || (apt_get valgrind) || die "there is no valgrind"
    item=instructions
    case ${1:-} in
    '') do_instructions ;;
    --update)
        instructions_count "$scratch/counts"
        {
            sed '/^# made with/,$d' tests/bench/instructions.txt
            say "# $(instructions_made_with)"
            cat "$scratch/counts"
        } > "$scratch/instructions.txt"
        mv "$scratch/instructions.txt" tests/bench/instructions.txt
        cat tests/bench/instructions.txt ;;
    *) die "instructions: what is $1?" ;;
    esac
}

# The same worlds with each compiler and level of optimisation, and without threads: they must be
# the same to the bit.
do_simhash() {
    program_libs=-lcmocka
    hash_first=
    for hash_cc in $(compilers); do
        for hash_flags in -O0 -O3 '-O1 -DFRANCIS_NO_THREADS=1'; do
            hash_program=build/simhash/$(basename "$hash_cc")$(say "$hash_flags" | tr -d ' ')
            # shellcheck disable=SC2086
            make_with "$hash_program" "$hash_cc" -std=c11 $warn_test -I. -Itests -Itests/support \
                $CFLAGS $hash_flags tests/sim/campaign.c $program_libs $libs
            hash_line=$(limited "$hash_program" --seeds 20)
            say "$hash_program: $hash_line"
            [ "${hash_first:=${hash_line##* }}" = "${hash_line##* }" ] || die "they differ"
        done
    done
}

# ---- items: compile modes ------------------------------------------------------------------------

optimise() {
    case $1 in
    O3) say "-O3 -DNDEBUG" ;;
    *) say "-$1" ;;
    esac
}

# Prints a directory with the headers of the libraries and nothing else, for targets without their
# own.
headers_dir() {
    mkdir -p "build/compile/headers.$$"
    for header in sqlite3.h mbedtls/ssl.h psa/crypto.h; do
        # shellcheck disable=SC2046,SC2086
        header_path=$(say "#include <$header>" | $(plain_cc) $CFLAGS -E - |
            sed -n "s|^# 1 \"\(.*$header\)\".*|\\1|p" | head -n 1)
        case $header in
        */*) cp -rp "$(dirname "$header_path")" "build/compile/headers.$$/" ;;
        *) cp -p "$header_path" "build/compile/headers.$$/" ;;
        esac
    done
    say "build/compile/headers.$$"
}

# do_compile KIND STANDARD OPTIMISATION COMPILER...: one file of tests/compile with all warnings.
do_compile() {
    what=$1 std=$2 opt=$3
    shift 3
    flags="$warn_all -I. -std=$std $(optimise "$opt")"
    object=build/compile/$(printf '%s' "$item" | tr -c 'A-Za-z0-9.+-' '_').o
    # shellcheck disable=SC2046,SC2086
    case $what in
    *++)
        cxx=$(cxx_of "$*")
        have "${cxx%% *}" || skip "no $cxx"
        make_with "$object" $cxx $flags $CFLAGS -x c++ -c "tests/compile/${what%++}.c" ;;
    32-bit)
        printf '#include <stdio.h>\n' | "$@" -m32 -fsyntax-only -x c - 2> /dev/null ||
            skip "$* has no headers for -m32"
        "$@" $flags $warn_c -m32 -isystem "$(headers_dir)" $CFLAGS -fsyntax-only \
            tests/compile/implementation.c ;;
    musl)
        have musl-gcc || skip "no musl-gcc"
        musl-gcc $flags $warn_c -isystem "$(headers_dir)" $CFLAGS -fsyntax-only \
            tests/compile/implementation.c ;;
    *) make_with "$object" "$@" $flags $warn_c $CFLAGS -c "tests/compile/$what.c" ;;
    esac
}

# do_program NAME COMPILER...: several files as one program that runs, and that says itself how it
# was configured: a switch that silently does not apply is worse than none.
do_program() {
    name=$1
    shift
    dir=build/compile/program-$(printf '%s' "$item" | tr -c 'A-Za-z0-9.+-' '_')
    c="$* -std=c99 $warn_all $warn_c -I. -O1 $CFLAGS"
    cxx=$(cxx_of "$*")
    expect=
    # shellcheck disable=SC2086
    case $name in
    two-files)
        make_with "$dir/a.o" $c -c tests/compile/implementation.c
        make_with "$dir/b.o" $c -c tests/compile/use.c ;;
    c++-user)
        have "${cxx%% *}" || skip "no $cxx"
        make_with "$dir/a.o" $c -c tests/compile/implementation.c
        make_with "$dir/b.o" $cxx -x c++ -std=c++11 $warn_all -I. $CFLAGS -c tests/compile/use.c ;;
    c++-both)
        have "${cxx%% *}" || skip "no $cxx"
        make_with "$dir/a.o" $cxx -x c++ -std=c++17 $warn_all -I. $CFLAGS -c \
            tests/compile/implementation.c
        make_with "$dir/b.o" $c -c tests/compile/use.c ;;
    static)                             # two private copies beside a shared one
        make_with "$dir/a.o" $c -c tests/compile/static.c
        make_with "$dir/b.o" $c -c tests/compile/implementation.c
        expect=STATIC=1 ;;
    twice)
        make_with "$dir/a.o" "$@" -std=gnu11 $warn_all $warn_c -I. $CFLAGS -c tests/compile/twice.c
        make_with "$dir/b.o" $c -c tests/compile/use.c ;;
    no-stdio)
        make_with "$dir/a.o" $c -DFRANCIS_NO_STDIO=1 -c tests/compile/implementation.c
        make_with "$dir/b.o" $c -DFRANCIS_NO_STDIO=1 -c tests/compile/use.c
        ! nm -P -u "$dir/a.o" |
            grep -E '^_?(std(out|err)|v?f?printf|f?puts|fwrite|fputc|perror) ' ||
            die "prints all the same"
        expect=NO_STDIO=1 ;;
    no-threads)                         # nor the simulator; and there is no library for threads
        make_with "$dir/sim.o" $c -DFRANCIS_NO_THREADS=1 -c tests/compile/simulator.c
        make_with "$dir/a.o" $c -DFRANCIS_NO_THREADS=1 -c tests/compile/implementation.c
        make_with "$dir/b.o" $c -DFRANCIS_NO_THREADS=1 -c tests/compile/no_threads.c
        ! nm -P -u "$dir/sim.o" "$dir/a.o" | grep -E '^_?(pthread|thrd|mtx|cnd|tss|sem)_' ||
            die "asks for threads all the same"
        libs=$(say "$libs" | sed 's/-lpthread//') ;;
    debug)
        make_with "$dir/a.o" $c -DFRANCIS_DEBUG=1 -c tests/compile/implementation.c
        make_with "$dir/b.o" $c -DFRANCIS_DEBUG=1 -c tests/compile/use.c
        expect=DEBUG=1 ;;
    *) die "no such program: $name" ;;
    esac
    case $name in c++*) linker=$cxx ;; *) linker=$* ;; esac
    # shellcheck disable=SC2086
    $linker $CFLAGS "$dir/a.o" "$dir/b.o" -o "$dir/$name" $libs
    # shellcheck disable=SC2086
    limited "$dir/$name" $expect
}

# Names that the object shows to others, and what it keeps between calls. Without position
# independence: else tables of constants that have addresses would count as writable.
do_symbols() {
    object=build/compile/symbols-$(printf '%s' "$item" | tr -c 'A-Za-z0-9.+-' '_').o
    # shellcheck disable=SC2086
    make_with "$object" "$@" -std=c11 -I. -O2 -DNDEBUG -fno-pic $CFLAGS -c \
        tests/compile/implementation.c
    nm -P "$object" | awk '
        { name = $1; sub(/^_/, "", name); sub(/^[.].*/, "", name); type = $2 }
        name == "" { next }
        type ~ /^[A-TX-Z]$/ && name !~ /^francis_/ { print "not ours to export: " name; bad = 1 }
        type ~ /^[dDbBCgGsS]$/ && name !~ /^frn_run_signal/ { print "writable: " name; bad = 1 }
        type == "U" && name ~ /^(abort|exit|_exit|_Exit|__assert_fail|__assert_rtn|longjmp)$/ {
            print "ends the process: " name; bad = 1 }
        type == "T" { functions++ }
        END { if (!functions) print "no function at all"; exit bad || !functions }'
}

# do_fail NAME COMPILER...: must not build. Its first comment has "cc:" for flags and further files,
# and "says:" for what the compiler or linker must complain about.
do_fail() {
    source=tests/fail/$1.c
    shift
    flags=$(sed -n 's/^ \* cc: //p' "$source")
    says=$(sed -n 's/^ \* says: \(.*\) \*\/$/\1/p' "$source")
    case " $flags " in *' -c '*) fail_libs= ;; *) fail_libs=$libs ;; esac
    [ -n "$says" ] || die "$source does not say what it expects"
    # shellcheck disable=SC2086
    if complaint=$("$@" -I. $CFLAGS "$source" $flags -o "$(item_file "$item").out" $fail_libs 2>&1)
    then
        die "$source can be built"
    fi
    say "$complaint"
    say "$complaint" | grep -E -q -e "$says" || die "the complaint is not: $says"
}

# ---- test ----------------------------------------------------------------------------------------

compilers() {
    if [ -n "${CC:-}" ]; then
        say "$CC"
    else
        for compiler in gcc clang; do ! have "$compiler" || say "$compiler"; done
    fi
}

list_compile() {
    compilers | while read -r cc; do
        for std in c99 c11 c17 gnu11; do
            say "header $std O0 $cc"
            say "implementation $std O0 $cc"
        done
        say "implementation c99 O3 $cc"         # what only the optimiser sees
        say "implementation gnu11 O2 $cc"
        say "simulator c99 O0 $cc"
        say "simulator gnu11 O2 $cc"
        for std in c++11 c++17 c++20; do say "header++ $std O0 $cc"; done
        say "implementation++ c++17 O2 $cc"
        say "simulator++ c++17 O2 $cc"
        for name in two-files c++-user c++-both static twice no-stdio no-threads debug; do
            say "program $name $cc"
        done
        say "32-bit c99 O0 $cc"
        say "symbols $cc"
        for file in tests/fail/*.c; do say "fail $(basename "$file" .c) $cc"; done
        mbedtls36_usable || continue
        for std in c99 c11; do say "mbedtls36 implementation $std O2 $cc"; done
        say "mbedtls36 implementation++ c++17 O2 $cc"
    done
    [ -n "${CC:-}" ] || for std in c99 gnu11; do say "musl $std O0 musl-gcc"; done
}

is_of_tls() {
    case " $mbedtls36_tests " in *" $(basename "$1" .c | sed s/^test_//) "*) ;; *) return 1 ;; esac
}

# Of these the cases without workers are run without threads as well. In the others with such cases
# threads of the test call in, or a host with workers is opened besides.
is_of_one_thread() {
    case $(basename "$1" .c) in test_turns | test_calls | test_jobs) ;; *) return 1 ;; esac
}

list_tests() {
    for file in tests/test_*.c; do
        case $1-$file in
        thread-*/test_many.c | thread-*/test_stop.c | thread-*/test_netns.c | \
            thread-*/test_worker.c | address*/test_netns.c)
            continue ;;                         # of processes, and long
        thread-*/test_schedule.c | thread-*/test_linear.c | thread-*/test_fuzz.c | \
            thread-*/test_sim.c | thread-*/test_sqlite_calls.c | thread-*/test_words.c | \
            thread-*/test_fault_calls.c | thread-*/test_net_corners.c | \
            thread-*/test_security_corners.c)
            continue ;;                         # of one thread
        mbedtls36*) is_of_tls "$file" || continue ;;
        no-threads-*) is_of_one_thread "$file" || continue ;;
        esac
        [ ! -f "$file" ] || say "test $(basename "$file" .c | sed s/^test_//) $1"
    done
}

list_sim() {
    case $1 in
    plain) say "sim plain 250 1"; say "sim plain 250 251"; say simhash
        say "simbugs 0 2"; say "simbugs 1 2" ;;
    address*) say "sim $1 50 501" ;;
    coverage) say "sim $1 100 1"; say "sim $1 100 101" ;;
    esac
}

list_examples() {
    for file in examples/*.c; do
        [ ! -f "$file" ] || say "example $(basename "$file" .c) $1"
    done
}

test_all() {
    require test
    make_scratch
    start=$(now)
    modes=${SAN:-plain}
    case $modes-$# in
    mbedtls36*) (mbedtls36) || die "SAN=$SAN: there is no mbedTLS 3.6 beside that of the system" ;;
    plain-0)
        (mbedtls36) > "$scratch/mbedtls36.log" 2>&1 ||
            say "skipped  all with mbedTLS 3.6: $(tail -n 1 "$scratch/mbedtls36.log")"
        (port_tools i386 && port_make i386) > "$scratch/port.log" 2>&1 ||
            say "skipped  all on i386: $(tail -n 1 "$scratch/port.log")" ;;
    esac
    for mode in $modes thread address,undefined; do
        mode_cc "$mode" > "$scratch/cc"
        mv "$scratch/cc" "$scratch/cc-$(say "$mode" | tr ',' '+')"
    done
    list=$scratch/list
    : > "$list"
    if [ $# = 0 ]; then
        for compiler in gcc clang; do
            [ -n "${CC:-}" ] || have "$compiler" ||
                say "skipped  all modes of $compiler: there is none"
        done
        if [ -z "$SAN" ]; then                          # the slow ones first
            for mode in thread address,undefined; do
                if [ -z "$(mode_cc $mode)" ]; then
                    say "skipped  all tests in mode $mode: no compiler's program runs with it"
                    continue
                fi
                list_tests $mode >> "$list"
                list_sim $mode >> "$list"
                modes="$modes $mode"
            done
            if mbedtls36_usable; then
                list_tests mbedtls36 >> "$list"
                modes="$modes mbedtls36"
            fi
            list_tests no-threads >> "$list"
            modes="$modes no-threads"
        fi
        {
            list_tests "${SAN:-plain}"
            list_examples "${SAN:-plain}"
            say "demo ${SAN:-plain}"
            [ -n "$SAN" ] || say instructions
            [ -n "$SAN" ] || ! port_there i386 || say "port-same i386"
            list_sim "${SAN:-plain}"
        } >> "$list"
        [ -n "$SAN" ] || list_compile >> "$list"
    fi
    for name; do
        name=$(basename "$name" .c)
        name=${name#test_}
        if [ -f "tests/test_$name.c" ]; then say "test $name $modes" >> "$list"
        elif [ "$name" = compile ]; then list_compile >> "$list"
        elif [ "$name" = examples ]; then list_examples "$modes" >> "$list"
        elif [ "$name" = demo ]; then say "demo $modes" >> "$list"
        else die "no tests/test_$name.c"
        fi
    done
    for mode in $modes; do                              # what many wait for goes ahead
        ! grep -q "^test .* $mode\$" "$list" || say "object $mode"
    done > "$scratch/first"
    run_items < "$scratch/first"
    # Many a test waits for most of its time: one more than there are cores.
    run_items "${JOBS:-$(($(cores) + 1))}" < "$list"
    cat "$scratch/first" "$list" > "$scratch/all"
    item_totals "$scratch/all"
    printf '\n%s skipped, %s seconds\n' "$skipped" "$(seconds_since "$start")"
    say "$passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# ---- coverage ------------------------------------------------------------------------------------

coverage_least=95                       # of a hundred branches

coverage_cc() { if [ -n "${CC:-}" ]; then say "$CC"; else first_of clang; fi; }

# The tools of the compiler's own version: they read what it wrote.
coverage_tool() {
    coverage_version=$("$(coverage_cc)" -dumpversion)
    first_of "llvm-$1-${coverage_version%%.*}" "llvm-$1" || die "there is no llvm-$1"
}

# All copies of the library that have run, one in each file.
coverage_copies() {
    say build/coverage/francis.o
    for copy_source in tests/test_*.c; do
        copy=build/coverage/$(basename "$copy_source" .c)
        ! has_own_copy "$copy_source" || [ ! -f "$copy" ] || say "$copy"
    done
    for copy in build/coverage/campaign build/coverage/examples/*; do
        case $copy in *.d | *.cmd | */demo-cluster) continue ;; esac
        [ ! -f "$copy" ] || say "$copy"
    done
}

# do_copy MODE SOURCE: builds what has run before, and has a copy of what the library is now.
do_copy() {
    case $2 in
    examples/*)
        copy_name=$(basename "$2" .c)
        build_example "$1" "$copy_name" "$(mode_dir "$1")/examples/$copy_name" ;;
    */campaign.c) build_campaign "$1" ;;
    *)
        program_libs=-lcmocka
        # shellcheck disable=SC2086
        build_program "$1" "$2" "$(mode_dir "$1")/$(basename "$2" .c)" $warn_test -I. \
            -Itests/support ;;
    esac
}

list_copies() {
    for copy_source in tests/test_*.c; do
        ! has_own_copy "$copy_source" || say "copy coverage $copy_source"
    done
    say "copy coverage tests/sim/campaign.c"
    for copy_source in examples/*.c; do
        [ -n "$(example_lack "$(basename "$copy_source" .c)")" ] ||
            say "copy coverage ${copy_source}"
    done
}

# Adds up what the programs counted. The same branch of two copies is one branch.
coverage_report() {
    "$(coverage_tool profdata)" merge -o build/coverage/all.profdata build/coverage/raw/*.profraw
    : > build/coverage/shown
    for copy in $(coverage_copies); do
        "$(coverage_tool cov)" show "$copy" -instr-profile=build/coverage/all.profdata \
            --show-branches=count francis.h 2> /dev/null >> build/coverage/shown
    done
    awk -v least="$coverage_least" -v missed=build/coverage/missed.txt \
        -f tests/support/coverage.awk francis.h build/coverage/shown
}

coverage() {
    require test
    have "$(coverage_cc)" || die "coverage needs clang"
    coverage_tool cov > /dev/null
    make_scratch
    mkdir -p build/coverage/raw
    coverage_cc > "$scratch/cc-coverage"
    list=$scratch/list
    if [ $# = 0 ]; then
        rm -f build/coverage/raw/*
        { list_tests coverage; list_sim coverage; list_examples coverage; say "demo coverage"
        } > "$list"
    else
        for name; do
            case $name in
            sim) list_sim coverage ;;
            *) say "test $name coverage" ;;
            esac
        done > "$list"
    fi
    export LLVM_PROFILE_FILE="$PWD/build/coverage/raw/%m%c.profraw"
    export T_TIMEOUT="${T_TIMEOUT:-900}"
    say "object coverage" > "$scratch/first"
    list_copies > "$scratch/copies"         # what has run must be of the same text as what runs
    run_items < "$scratch/first"
    run_items < "$scratch/copies"
    run_items < "$list"
    cat "$scratch/first" "$scratch/copies" "$list" > "$scratch/all"
    item_totals "$scratch/all"
    say "$passed passed, $failed failed, $skipped skipped"
    coverage_report && [ "$failed" = 0 ]
}

# ---- ports ---------------------------------------------------------------------------------------
# Left out: what kills processes in great number, and what tests the tests.

port_all='i386 armhf arm64 s390x musl'
port_tests='schedule alarm_rows register turns calls state limits alarms jobs exec security sim'
# Not under an emulator: these want a machine that is fast enough, or ask the kernel for what
# emulators do not know.
port_tests_here='hooks streams net cluster'

# ports [MACHINE...]: what is needed, then the tests, 50 worlds and what must be the same on all.
ports() {
    require test
    make_scratch
    start=$(now)
    # shellcheck disable=SC2086
    [ $# -gt 0 ] || set -- $port_all
    port_usable=
    : > "$scratch/list"
    for port_one; do
        if ! (port_tools "$port_one" && port_make "$port_one") > "$scratch/port.log" 2>&1; then
            say "skipped  all on $port_one: $(tail -n 1 "$scratch/port.log")"
            continue
        fi
        port_usable="$port_usable $port_one"
        case $port_one in i386 | musl) port_more=$port_tests_here ;; *) port_more= ;; esac
        {
            for port_test in $port_tests $port_more; do say "port $port_one $port_test"; done
            say "port-sim $port_one 50"
        } >> "$scratch/list"
    done
    [ -n "$port_usable" ] || die "none of these machines can be had here"
    say "port-same$port_usable" >> "$scratch/list"
    run_items < "$scratch/list"
    item_totals "$scratch/list"
    printf '\n%s skipped, %s seconds\n' "$skipped" "$(seconds_since "$start")"
    say "$passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# The compiler, a linker for the machine, an emulator.
port_tools() {
    case $1 in
    musl) return 0 ;;
    i386) case $(uname -m) in x86_64 | i?86) ;; *) skip "this is no x86" ;; esac ;;
    *)
        have qemu-s390x || apt_get qemu-user || skip "no qemu-user"
        port_binutils=binutils-$(port_target "$1")
        have "$(port_target "$1")-ld" || apt_get "$port_binutils" || skip "no $port_binutils" ;;
    esac
    have clang || skip "no clang, which compiles for all of them"
}

# ---- lint ----------------------------------------------------------------------------------------

sources() { find francis.h examples tests -name '*.[ch]' | sort; }
scripts() { say build.sh .ci/run; find examples tests -name '*.sh' | sort; }

do_lint() {
    case $1 in
    layout)                             # see .clang-format for what is free
        bad=0
        for file in $(sources); do
            base=$(item_file "$item")
            awk -f tests/lint/fence.awk "$file" > "$base.a.c"
            clang-format --style=file:.clang-format "$base.a.c" > "$base.b.c"
            awk -f tests/lint/squeeze.awk "$base.a.c" > "$base.a"
            awk -f tests/lint/squeeze.awk "$base.b.c" > "$base.b"
            diff "$base.a" "$base.b" > "$base.diff" ||
                { say "--- $file: < as it is, > as it should be"; cat "$base.diff"; bad=1; }
        done
        return $bad ;;
    habits)
        # shellcheck disable=SC2046
        awk -f tests/lint/habits.awk $(sources) $(scripts) ;;
    api) awk -f tests/lint/api.awk francis.h tests/support/fault_api.h ;;
    shellcheck)
        # shellcheck disable=SC2046
        shellcheck -s sh $(scripts) ;;
    cppcheck)
        case $2 in
        francis.h) lint_cppcheck -DFRANCIS_IMPLEMENTATION=1 -DFRANCIS_SIM=1 "$2" ;;
        *) lint_cppcheck -DFRANCIS_IMPLEMENTED=1 "$2" ;;    # the library itself: once is enough
        esac ;;
    clang-tidy)
        have clang-tidy || skip "no clang-tidy"
        # The library as the main file: functions of an included one are not analysed.
        clang-tidy --quiet --warnings-as-errors='*' francis.h -- -x c -std=c11 \
            -DFRANCIS_IMPLEMENTATION ;;
    analyzer) lint_analyzer ;;
    *) die "no such check: $1" ;;
    esac
}

# What gcc's own analyzer finds on paths through several functions. In full it takes gigabytes and
# half an hour for a file of this size, so it is kept to two states for each point of the program,
# which is enough to follow a path and not all ways of coming there. Version 12 only: each one has
# mistakes of its own. tests/lint/analyzer.txt lists those of this one, with the reason; whatever
# else it says is a fault, and so is a line of that list which it does not say any more.
lint_analyzer() {
    have gcc || skip "no gcc"
    analyzer_version=$(gcc -dumpversion)
    [ "${analyzer_version%%.*}" = 12 ] || skip "gcc is $analyzer_version, and not 12"
    analyzer_base=$(item_file "$item")
    # shellcheck disable=SC2086  # words
    LC_ALL=C gcc -std=c11 -O0 -I. $CFLAGS -fanalyzer -fdiagnostics-plain-output \
        --param=analyzer-bb-explosion-factor=1 --param=analyzer-max-enodes-per-program-point=2 \
        --param=analyzer-max-svalue-depth=6 -c tests/compile/implementation.c \
        -o "$analyzer_base.o" 2> "$analyzer_base.all"
    awk -f tests/lint/analyzer.awk tests/lint/analyzer.txt "$analyzer_base.all"
}

# Without the headers of the system, which take it ten times as long, but with the macros of theirs
# that francis.h asks for; and all is judged as one configuration: Linux.
lint_cppcheck() {
    cppcheck --quiet --std=c11 --language=c --error-exitcode=1 --inline-suppr --max-configs=1 \
        --enable=warning,performance,portability --suppress=missingInclude \
        --suppress=missingIncludeSystem -D__GNUC__=12 -D__linux__=1 -D__x86_64__=1 \
        -D_POSIX_VERSION=200809L -DCLOCK_MONOTONIC=1 -DSIGTERM=15 \
        -DSQLITE_VERSION_NUMBER=3040001 -DMBEDTLS_VERSION_NUMBER=0x021c0300 \
        -DMBEDTLS_SSL_CLI_C -DMBEDTLS_SSL_SRV_C -DMBEDTLS_SSL_ALPN -DMBEDTLS_SSL_PROTO_TLS1_2 \
        -DMBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED -DMBEDTLS_ECDSA_DETERMINISTIC \
        -DMBEDTLS_ECP_DP_SECP256R1_ENABLED -DMBEDTLS_HKDF_C -DMBEDTLS_PEM_WRITE_C \
        -DMBEDTLS_PK_WRITE_C -I. -Itests/support "$@"
}

lint_all() {
    require build                       # clang-tidy reads the headers of the libraries
    require lint
    make_scratch
    {
        say "lint clang-tidy francis.h"
        say "lint cppcheck francis.h"
        say "lint analyzer"
        for check in layout habits api shellcheck; do say "lint $check"; done
        for file in tests/test_*.c tests/bench/*.c tests/demo/*.c tests/ports/*.c tests/sim/*.c \
            examples/*.c; do
            [ ! -f "$file" ] || say "lint cppcheck $file"
        done
    } > "$scratch/list"
    run_items < "$scratch/list"
    item_totals "$scratch/list"
    say "lint: $passed checks passed, $failed failed"
    [ "$failed" = 0 ]
}

# ---- the other verbs -----------------------------------------------------------------------------

examples_all() {
    require examples
    make_scratch
    for file in examples/*.c; do
        example=$(basename "$file" .c)
        example_without=$(example_lack "$example")
        if [ -n "$example_without" ]; then
            say "skipped  build/$example: $example_without"
            continue
        fi
        say "build/$example"
        build_example "${SAN:-plain}" "$example" "build/$example"
    done
}

bench() {
    require build >&2                       # standard output is for figures
    program_libs=
    # shellcheck disable=SC2086
    build_program "${SAN:-plain}" tests/bench/bench.c build/bench/bench $warn_test -I. \
        -Itests/support
    exec build/bench/bench "$@"
}

build_campaign() {
    program_libs=-lcmocka
    # shellcheck disable=SC2086
    build_program "$1" tests/sim/campaign.c "$(mode_dir "$1")/campaign" $warn_test -I. -Itests \
        -Itests/support
}

# sim_bugs [PART PARTS]: each bug in a copy of the library, and the first world that finds it.
sim_bugs() {
    bugs_code=0 bugs_number=0
    while read -r bugs_within bugs_what; do
        case $bugs_within in '#'*) continue ;; esac
        read -r bugs_sed
        bugs_number=$((bugs_number + 1))
        [ $((bugs_number % ${2:-1})) = "${1:-0}" ] || continue
        bugs_dir=build/bugs/$bugs_number
        mkdir -p "$bugs_dir"
        sed -e "$bugs_sed" francis.h > "$bugs_dir/francis.h"
        ! cmp -s francis.h "$bugs_dir/francis.h" || die "cannot plant: $bugs_what"
        # shellcheck disable=SC2046,SC2086  # words; what a bug leaves unused is no matter
        $(plain_cc) -std=c11 -w -O0 "-I$bugs_dir" -Itests -Itests/support $CFLAGS \
            tests/sim/campaign.c -o "$bugs_dir/campaign" -lcmocka $libs
        bugs_seed=1
        while [ "$bugs_seed" -le "$bugs_within" ] &&
            "$bugs_dir/campaign" --seconds 5 --seed "$bugs_seed" > "$bugs_dir/log" 2>&1; do
            bugs_seed=$((bugs_seed + 1))
        done
        if [ "$bugs_seed" -le "$bugs_within" ]; then
            say "seed $bugs_seed of $bugs_within finds: $bugs_what"
        else
            say "NOT FOUND within $bugs_within seeds: $bugs_what"
            bugs_code=1
        fi
    done < tests/sim/bugs.txt
    return $bugs_code
}

# sim [--seed S | --seeds N --first F --minutes M]: a process per core, each with seeds of its own.
sim() {
    require test >&2
    sim_mode=${SAN:-plain}
    build_campaign "$sim_mode" >&2
    sim_program=$(mode_dir "$sim_mode")/campaign
    sim_seeds=500 sim_first=1 sim_minutes=
    while [ $# -gt 0 ]; do
        case $1 in
        --seed) exec "$sim_program" "$@" ;;
        --bugs) sim_bugs; return ;;
        --seeds) sim_seeds=$2 ;;
        --first) sim_first=$2 ;;
        --minutes) sim_minutes=$2 ;;
        *) die "sim: what is $1?" ;;
        esac
        shift 2
    done
    sim_cores=$(cores) sim_core=0 sim_pids='' sim_code=0
    while [ "$sim_core" -lt "$sim_cores" ]; do
        if [ -n "$sim_minutes" ]; then
            set -- --minutes "$sim_minutes"
        else
            set -- --seeds $(((sim_seeds + sim_cores - 1 - sim_core) / sim_cores))
        fi
        "$sim_program" "$@" --first $((sim_first + sim_core)) --step "$sim_cores" &
        sim_pids="$sim_pids $!"
        sim_core=$((sim_core + 1))
    done
    for sim_pid in $sim_pids; do
        wait "$sim_pid" || sim_code=1
    done
    return $sim_code
}

# The inputs of a corpus: a line of hexadecimal digits becomes a file, and the other way round.
fuzz_unpack() {
    mkdir -p "$2"
    fuzz_number=0
    while read -r fuzz_hex; do
        fuzz_number=$((fuzz_number + 1))
        fuzz_octal=$(say "$fuzz_hex" | awk '
            function digit(i) { return index("0123456789abcdef", substr($0, i, 1)) - 1 }
            { for (i = 1; i < length($0); i += 2) printf "\\%03o", 16 * digit(i) + digit(i + 1) }')
        # shellcheck disable=SC2059  # all of it is escapes
        printf "$fuzz_octal" > "$2/kept-$fuzz_number"
    done < "$1"
}

fuzz_pack() {
    for fuzz_file in "$1"/*; do
        od -An -v -tx1 "$fuzz_file" | tr -d ' \n'
        say ''
    done | LC_ALL=C sort -u | awk 'NF'
}

# fuzz_build OUT FLAG...: all targets in one program.
fuzz_build() {
    fuzz_out=$1
    shift
    # shellcheck disable=SC2086
    make_with "$fuzz_out" "$fuzz_cc" -std=c11 "$@" -I. -Itests/support -O1 -g \
        -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
        $CFLAGS tests/fuzz/fuzz.c -lcmocka $libs
}

fuzz_targets() { sed -n 's/^    { "\([a-z]*\)", FUZZ_[A-Z]*, .*/\1/p' tests/fuzz/fuzz.h; }

fuzz_limits='-max_len=1500 -timeout=60'

# Only what adds to what the others reach; of the same, the smallest.
fuzz_merge() {
    for fuzz_name; do
        fuzz_dir=build/fuzz/$fuzz_name
        fuzz_unpack "tests/fuzz/corpus/$fuzz_name.hex" "$fuzz_dir"
        rm -rf "$fuzz_dir-merged"
        mkdir "$fuzz_dir-merged"
        # shellcheck disable=SC2086
        FUZZ_TARGET=$fuzz_name build/fuzz/fuzz $fuzz_limits -merge=1 -use_counters=0 \
            "$fuzz_dir-merged" "$fuzz_dir"
        fuzz_pack "$fuzz_dir-merged" > "$fuzz_dir.hex"
        mv "$fuzz_dir.hex" "tests/fuzz/corpus/$fuzz_name.hex"
    done
}

# All bugs are in one copy of the library, each for its target only. The corpus alone must not find
# one: else it would say nothing of what the fuzzer finds.
fuzz_canaries() {
    fuzz_code=0 fuzz_only=" $* " fuzz_bugs=build/fuzz/canaries
    mkdir -p "$fuzz_bugs"
    grep '^[s/]' tests/fuzz/canaries.txt > "$fuzz_bugs/sed"
    sed -f "$fuzz_bugs/sed" francis.h > "$fuzz_bugs/new"
    cmp -s "$fuzz_bugs/new" "$fuzz_bugs/francis.h" || cp "$fuzz_bugs/new" "$fuzz_bugs/francis.h"
    [ "$(diff francis.h "$fuzz_bugs/francis.h" | grep -c '^>')" = "$(wc -l < "$fuzz_bugs/sed")" ] ||
        die "not each canary can be planted, in one line of its own"
    fuzz_build "$fuzz_bugs/fuzz" "-I$fuzz_bugs" -w
    while read -r fuzz_seconds fuzz_name fuzz_what; do
        case $fuzz_seconds in '' | *[!0-9]*) continue ;; esac
        case $fuzz_only in *" $fuzz_name "*) ;; *) continue ;; esac
        fuzz_dir=$fuzz_bugs/$fuzz_name
        rm -rf "$fuzz_dir"
        fuzz_unpack "tests/fuzz/corpus/$fuzz_name.hex" "$fuzz_dir"
        # shellcheck disable=SC2086
        if ! FUZZ_TARGET=$fuzz_name "$fuzz_bugs/fuzz" $fuzz_limits -runs=0 "$fuzz_dir" \
            > "$fuzz_dir.log" 2>&1; then
            say "ALREADY IN THE CORPUS: $fuzz_name: $fuzz_what"
            fuzz_code=1
            continue
        fi
        rm -f "$fuzz_dir"-crash-*
        # shellcheck disable=SC2086,SC3045  # words; each shell that is meant has it
        (ulimit -t "$fuzz_seconds" && FUZZ_TARGET=$fuzz_name exec "$fuzz_bugs/fuzz" $fuzz_limits \
            -seed=1 -print_final_stats=1 "-artifact_prefix=$fuzz_dir-" "$fuzz_dir") \
            > "$fuzz_dir.log" 2>&1 || true
        if ls "$fuzz_dir"-crash-* > "$fuzz_dir.found" 2> /dev/null; then
            say "found after $(sed -n 's/^stat::number_of_executed_units: *//p' "$fuzz_dir.log")" \
                "runs: $fuzz_name: $fuzz_what"
        else
            say "NOT FOUND within $fuzz_seconds s: $fuzz_name: $fuzz_what"
            fuzz_code=1
        fi
    done < tests/fuzz/canaries.txt
    return $fuzz_code
}

# fuzz [SECONDS] [NAME ...], in any order. What it finds stays in build/fuzz/NAME, an input that
# fails as build/fuzz/NAME-crash-*.
fuzz() {
    require test
    fuzz_cc=${CC:-clang} fuzz_seconds=60 fuzz_verb='' fuzz_names=''
    have "$fuzz_cc" || die "the fuzzers need clang"
    for fuzz_word; do
        case $fuzz_word in
        --canaries | --merge) fuzz_verb=$fuzz_word ;;
        *[!0-9]*)
            fuzz_targets | grep -q -x -e "$fuzz_word" || die "fuzz: there is no target $fuzz_word"
            fuzz_names="$fuzz_names $fuzz_word" ;;
        *) fuzz_seconds=$fuzz_word ;;
        esac
    done
    # shellcheck disable=SC2046,SC2086  # words
    set -- ${fuzz_names:-$(fuzz_targets)}
    if [ "$fuzz_verb" = --canaries ]; then
        fuzz_canaries "$@"
        return
    fi
    # shellcheck disable=SC2086
    fuzz_build build/fuzz/fuzz $warn_test
    if [ "$fuzz_verb" = --merge ]; then
        fuzz_merge "$@"
        return
    fi
    for fuzz_name; do
        fuzz_unpack "tests/fuzz/corpus/$fuzz_name.hex" "build/fuzz/$fuzz_name"
        # shellcheck disable=SC2086
        FUZZ_TARGET=$fuzz_name build/fuzz/fuzz "-max_total_time=$fuzz_seconds" $fuzz_limits \
            -print_final_stats=1 "-artifact_prefix=build/fuzz/$fuzz_name-" "build/fuzz/$fuzz_name"
    done
}

verb=${1:-}
[ $# = 0 ] || shift
case $verb in
install-deps)
    [ $# -gt 0 ] || set -- build examples test lint
    install_deps "$@" ;;
deps) for deps_of in build examples test lint; do require "$deps_of"; done ;;
deps-mbedtls36) deps_mbedtls36 ;;
examples) examples_all ;;
demo)
    require examples
    [ -z "$(example_lack worker)" ] || die "the demo needs the worker: $(example_lack worker)"
    build_demo "${SAN:-plain}" build
    # shellcheck disable=SC2086  # words
    exec $demo_command ;;
test) test_all "$@" ;;
bench) bench "$@" ;;
fuzz) fuzz "$@" ;;
sim) sim "$@" ;;
coverage) coverage "$@" ;;
ports) ports "$@" ;;
instructions) instructions "$@" ;;
lint) lint_all ;;
clean) rm -rf build ;;
_item) one_item "$1" ;;
'') usage ;;
*)
    usage >&2
    exit 2 ;;
esac
