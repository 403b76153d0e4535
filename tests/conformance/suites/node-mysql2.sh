# Node's mysql2, whose package carries no tests: a program of ours that uses every part of its API.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

readonly version=3.24.5

case "$1" in
    fetch)
        languages node python
        if [ ! -f "node_modules/of-$version" ]; then
            rm -rf node_modules package.json package-lock.json
            npm install --no-audit --no-fund --silent "mysql2@$version" >npm.log 2>&1 || fail "npm cannot get mysql2 $version: $(tail -n 1 npm.log)"
            touch "node_modules/of-$version"
        fi
        echo "$version"
        ;;
    run)
        # Modules are looked for beside the program.
        cp "$HERE"/suites/node/*.js .
        node mysql2.js >node.log
        cat node.log
        results lines <node.log
        ;;
esac
