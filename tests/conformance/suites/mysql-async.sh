# The crate mysql_async, of the version the project uses, with its own tests.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

readonly features=(--no-default-features --features "minimal-rust,rustls-tls,tls12")

case "$1" in
    fetch)
        languages python
        folder="$(cargo metadata --manifest-path "$ROOT/Cargo.toml" --locked --format-version 1 |
            python3 -c 'import json,sys,os; print(next(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"]=="mysql_async"))')"
        version="${folder##*-}"
        if [ "$(cat src/.of 2>/dev/null)" != "$version" ]; then
            rm -rf src src.partial
            cp -r "$folder" src.partial
            echo "$version" >src.partial/.of
            mv src.partial src
        fi
        # Here, so that building is no part of what is limited in time.
        (cd src && cargo test --lib --no-run "${features[@]}") >build.log 2>&1 ||
            fail "it cannot be built: $(grep -m 1 ^error build.log)"
        echo "$version"
        ;;
    run)
        export DATABASE_URL="mysql://$DBUSER:$DBPASSWORD@$HOST:$PORT/$SCHEMA?prefer_socket=false"
        cd src
        runner 101 cargo test --lib "${features[@]}" -- --test-threads=4 2>&1 | tee ../cargo.log
        results cargo <../cargo.log
        ;;
esac
