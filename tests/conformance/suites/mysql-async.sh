# The crate mysql_async, of the version the project uses, with its own tests.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

case "$1" in
    fetch)
        need cargo
        folder="$(cargo metadata --manifest-path "$ROOT/Cargo.toml" --locked --format-version 1 |
            python3 -c 'import json,sys,os; print(next(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"]=="mysql_async"))')"
        if [ ! -d src ]; then
            cp -r "$folder" src.partial && mv src.partial src
        fi
        basename "$folder" | sed 's/.*-//'
        ;;
    run)
        cd src
        DATABASE_URL="mysql://$DBUSER:$DBPASSWORD@$HOST:$PORT/$SCHEMA?prefer_socket=false" \
            cargo test --lib --no-default-features --features minimal-rust,rustls-tls,tls12 -- --test-threads=4 >../cargo.log 2>&1 || true
        cd ..
        cat cargo.log
        results cargo <cargo.log
        ;;
esac
