# Like the published image: KAFKA_LOG_DIRS becomes log.dirs, and so on. The data folder is formatted once.
set -e
settings=/tmp/server.properties
env | sed -n 's/^KAFKA_//p' | while IFS='=' read -r name value; do
    echo "$(echo "$name" | tr 'A-Z_' 'a-z.')=$value"
done >"$settings"
kafka() { exec java -Xmx512m -XX:+UseSerialGC -cp '/opt/kafka/libs/*' "$@"; }
(kafka kafka.tools.StorageTool format --ignore-formatted -t "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" -c "$settings")
kafka kafka.Kafka "$settings"
