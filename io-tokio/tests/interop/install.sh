#!/usr/bin/env bash
# Brings everything the interop suites need: Java ZooKeeper 3.8 and 3.9, the client libraries, kazoo's sources.
# Quick when all of it is already there. Settings, all optional:
#   INTEROP_CACHE   where downloads live (default: target/interop of this repository)
#   KAZOO_SDIST, PYSPARK_SDIST   source packages already at hand, used instead of a download
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${INTEROP_CACHE:-$here/../../../target/interop}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

kazoo_version=2.11.0
# pyspark ships the jars of ZooKeeper 3.9.3 and of all it needs.
pyspark_version=4.0.1

say() { printf 'install: %s\n' "$*"; }

# Prints the path of a source package: the one given, or a fresh download into the folder $4.
source_package() { # name version given-path folder
    if [ -n "$3" ]; then
        printf '%s\n' "$3"
        return
    fi
    say "downloading $1 $2" >&2
    python3 -m pip download --quiet --no-deps --no-binary :all: --dest "$4" "$1==$2" >&2
    printf '%s\n' "$4/$1-$2.tar.gz"
}

install_system_packages() {
    local missing=()
    command -v java >/dev/null || missing+=(default-jre-headless)
    command -v gcc >/dev/null || missing+=(gcc libc6-dev)
    command -v npm >/dev/null || missing+=(nodejs npm)
    [ -x /usr/share/zookeeper/bin/zkCli.sh ] || missing+=(zookeeper)
    [ -e /usr/include/zookeeper/zookeeper.h ] || missing+=(libzookeeper-mt-dev)
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} -eq 0 ] && return
    say "apt: ${missing[*]}"
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    # The package `zookeeper` starts no service of its own (that is `zookeeperd`).
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

install_python() {
    local stamp=$cache/venv/.requirements
    cmp -s "$here/requirements.txt" "$stamp" && return
    say "python environment"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$stamp"
}

install_kazoo() {
    [ -d "$cache/kazoo-$kazoo_version/kazoo/tests" ] && return
    local scratch package
    scratch=$(mktemp -d "$cache/download.XXXXXX")
    package=$(source_package kazoo "$kazoo_version" "${KAZOO_SDIST:-}" "$scratch")
    tar -xzf "$package" -C "$scratch"
    mv "$scratch/kazoo-$kazoo_version" "$cache/"
    rm -rf "$scratch"
}

install_java39() {
    [ -e "$cache/java39/.complete" ] && return
    local scratch package
    scratch=$(mktemp -d "$cache/download.XXXXXX")
    package=$(source_package pyspark "$pyspark_version" "${PYSPARK_SDIST:-}" "$scratch")
    say "unpacking the jars of ZooKeeper 3.9.3"
    tar -xzf "$package" -C "$scratch" --strip-components=3 --wildcards \
        '*/deps/jars/zookeeper-*.jar' '*/deps/jars/netty-*-4*.jar' '*/deps/jars/netty-tcnative-classes-*.jar' \
        '*/deps/jars/slf4j-api-*.jar' '*/deps/jars/log4j-api-2*.jar' '*/deps/jars/log4j-core-*.jar' \
        '*/deps/jars/log4j-slf4j2-impl-*.jar' '*/deps/jars/metrics-core-*.jar' '*/deps/jars/snappy-java-*.jar' \
        '*/deps/jars/jline-2*.jar' '*/deps/jars/commons-cli-*.jar' '*/deps/jars/commons-io-*.jar' \
        '*/deps/jars/audience-annotations-*.jar'
    mkdir -p "$cache/java39"
    mv "$scratch"/*.jar "$cache/java39/"
    touch "$cache/java39/.complete"
    rm -rf "$scratch"
}

install_node_client() {
    local folder=$cache/node
    cmp -s "$here/clients/node/package-lock.json" "$folder/.installed" && return
    say "node-zookeeper-client"
    mkdir -p "$folder"
    cp "$here/clients/node/package.json" "$here/clients/node/package-lock.json" "$folder/"
    (cd "$folder" && npm ci --silent --no-audit --no-fund)
    cp "$here/clients/node/package-lock.json" "$folder/.installed"
}

install_system_packages
install_python
install_kazoo
install_java39
install_node_client
say "ready in $cache"
