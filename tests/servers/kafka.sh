#!/usr/bin/env bash
# A real single-node Kafka broker (KRaft) for tests, on 127.0.0.1 only.
#   KAFKA_RUN=folder tests/servers/kafka.sh install|start|stop|kill|status|wipe
# Jars come from Maven once, into $NEPHRITE_CACHE; configuration, data, log and pid are in $KAFKA_RUN.
# Listeners: PLAINTEXT $KAFKA_PORT (9092), controller +1, and with KAFKA_SECURE=1
#   SSL +2 (server certificate), SASL_SSL +3 (SCRAM-SHA-512/256 and PLAIN), SASL_PLAINTEXT +4.
# Certificates: $KAFKA_RUN/certs/{ca,server,client}.{pem,key}; user alice / alice-secret.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATIENCE=100
source "$here/process.sh"
VERSION=${KAFKA_VERSION:-4.3.1}
CACHE=${NEPHRITE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nephrite}
RUN=${KAFKA_RUN:?names the folder of this broker}
PORT=${KAFKA_PORT:-9092}
HEAP=${KAFKA_HEAP:-256m}
SECURE=${KAFKA_SECURE:-0}
LIB=$CACHE/kafka-$VERSION
JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}java
MVN=(mvn -B -ntp -q ${MAVEN_REPO_LOCAL:+-Dmaven.repo.local=$MAVEN_REPO_LOCAL})

install() {
  [[ -d $LIB ]] && return
  local t; mkdir -p "$CACHE"; t=$(mktemp -d "$CACHE/.kafka.XXXXXX")
  "${MVN[@]}" -f "$here/kafka-pom.xml" -Dkafka.version="$VERSION" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$t"
  mv -T "$t" "$LIB" 2>/dev/null || rm -rf "$t"   # another process may have been faster; its jars are as good
  [[ -d $LIB ]]
}

certs() {
  local d=$RUN/certs; [[ -f $d/server.pem ]] && return
  mkdir -p "$d"
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=nephrite-tests \
    -keyout "$d/ca.key" -out "$d/ca.pem" 2>/dev/null
  for n in server client; do
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$n" -keyout "$d/$n.key" -out "$d/$n.csr" 2>/dev/null
    openssl x509 -req -in "$d/$n.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial -days 30 \
      -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$d/$n.crt" 2>/dev/null
    cat "$d/$n.key" "$d/$n.crt" >"$d/$n.pem"      # PEM keystore: PKCS#8 key, then the chain
  done
}

config() {
  local l="PLAINTEXT://127.0.0.1:$PORT" a
  if [[ $SECURE == 1 ]]; then
    certs
    l+=",SSL://127.0.0.1:$((PORT+2)),SASL_SSL://127.0.0.1:$((PORT+3)),SASL_PLAINTEXT://127.0.0.1:$((PORT+4))"
  fi
  a=$l; l+=",CONTROLLER://127.0.0.1:$((PORT+1))"
  cat >"$RUN/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((PORT+1))
listeners=$l
advertised.listeners=$a
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,SASL_PLAINTEXT:SASL_PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$RUN/data
num.network.threads=2
num.io.threads=2
num.partitions=2
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.initial.task.delay.ms=500
log.retention.check.interval.ms=500
log.segment.delete.delay.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
EOF
  if [[ $SECURE == 1 ]]; then cat >>"$RUN/server.properties" <<EOF
ssl.keystore.type=PEM
ssl.keystore.location=$RUN/certs/server.pem
ssl.truststore.type=PEM
ssl.truststore.location=$RUN/certs/ca.pem
ssl.client.auth=${KAFKA_CLIENT_AUTH:-requested}
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret";
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
EOF
  fi
  [[ -n ${KAFKA_EXTRA:-} ]] && printf '%s\n' "$KAFKA_EXTRA" >>"$RUN/server.properties"
  cat >"$RUN/log4j2.properties" <<'EOF'
status=warn
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.c.ref=C
EOF
}

start() {
  alive && { echo "kafka already runs, pid $(cat "$RUN/pid")"; return; }
  install; mkdir -p "$RUN"; RUN=$(cd "$RUN" && pwd); config
  if [[ ! -f $RUN/data/meta.properties ]]; then
    local scram=()
    [[ $SECURE == 1 ]] && scram=(--add-scram 'SCRAM-SHA-512=[name=alice,password=alice-secret]' \
                                 --add-scram 'SCRAM-SHA-256=[name=alice,password=alice-secret]')
    "$JAVA" -XX:TieredStopAtLevel=1 -cp "$LIB/*" kafka.tools.StorageTool format \
      -t nephrite-tests -c "$RUN/server.properties" "${scram[@]}" >"$RUN/format.log" 2>&1 ||
      { cat "$RUN/format.log" >&2; exit 1; }
  fi
  setsid nohup "$JAVA" -Xms"$HEAP" -Xmx"$HEAP" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true \
    -Dlog4j2.configurationFile="$RUN/log4j2.properties" -cp "$LIB/*" kafka.Kafka "$RUN/server.properties" \
    >"$RUN/kafka.log" 2>&1 </dev/null &
  echo $! >"$RUN/pid"
  for _ in $(seq 900); do                       # ready = the broker unfenced itself, then the port answers
    grep -q 'Kafka Server started' "$RUN/kafka.log" && (: >/dev/tcp/127.0.0.1/"$PORT") 2>/dev/null &&
      { echo "kafka $VERSION ready on 127.0.0.1:$PORT, pid $(cat "$RUN/pid")"; return; }
    alive || break; sleep 0.1
  done
  tail -40 "$RUN/kafka.log" >&2; echo "kafka did not start" >&2; exit 1
}

dispatch "$@"
