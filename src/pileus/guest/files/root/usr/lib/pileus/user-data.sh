# Functions that execute user data, once for each instance; sourced by `late`. Known: scripts (`#!`), `#cloud-config`, several of these in a
# MIME message, each also gzipped. Of cloud-config: hostname, fqdn, ssh_authorized_keys, password, chpasswd (list, users), bootcmd (each
# boot), runcmd, write_files (path, content, encoding, permissions, owner, append). Other keys are named in the log and left.
parts=/var/lib/pileus/user-data

run_user_data() {
    if [ "$new_instance" = yes ]; then
        rm -rf $parts
        mkdir -p -m 700 $parts
        [ -s $found/user_data ] && split_user_data $found/user_data
    fi
    for part in $parts/*; do
        [ -f "$part" ] || continue
        case $(head -c 14 "$part") in
        '#cloud-config'*) run_cloud_config "$part" ;;
        '#!'*) [ "$new_instance" = yes ] && run_script "$part" ;;
        *) [ "$new_instance" = yes ] && echo "user data of an unknown kind: $(head -n 1 "$part" | cut -c 1-60)" ;;
        esac
    done
}

unpacked() { if [ "$(head -c 2 "$1" | xxd -p)" = 1f8b ]; then gunzip -c "$1"; else cat "$1"; fi; }

# One file a part. In a MIME message, each part's own headers end at its first empty line.
split_user_data() {
    unpacked "$1" >$parts/0
    head -n 20 $parts/0 | grep -qi '^content-type: *multipart/' || return 0
    awk -v base=$parts/ '
        !boundary && tolower($0) ~ /boundary=/ {boundary = $0; sub(/.*[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]="?/, "", boundary); sub(/".*|;.*| *\r?$/, "", boundary)}
        {sub(/\r$/, "")}
        boundary && index($0, "--" boundary) == 1 {count++; headers = 1; file = base "part-" count; next}
        headers && tolower($0) ~ /^content-transfer-encoding: *base64/ {file = file ".base64"}
        headers && $0 == "" {headers = 0; next}
        count && !headers {print > file}
    ' $parts/0
    rm -f $parts/0
    for part in $parts/*.base64; do
        [ -f "$part" ] || continue
        base64 -d "$part" >"$part.raw"
        unpacked "$part.raw" >"${part%.base64}"
        rm -f "$part" "$part.raw"
    done
}

# Its output goes to the console, as users of cloud images expect, and into a log.
run_script() {
    chmod 700 "$1"
    { (cd / && "$1" </dev/null; echo "pileus-guest: user data ended with status $?") 2>&1; } | tee -a /var/log/user-data.log >/dev/console
}

run_cloud_config() {
    flat=/run/pileus/cloud-config
    awk -v kind=yaml -f /usr/lib/pileus/flatten.awk "$1" >$flat
    commands bootcmd >/run/pileus/bootcmd
    [ -s /run/pileus/bootcmd ] && run_script /run/pileus/bootcmd
    [ "$new_instance" = yes ] || return 0
    cut -d/ -f2 $flat | cut -d= -f1 | sort -u |
        grep -vxE 'hostname|fqdn|ssh_authorized_keys|password|chpasswd|bootcmd|runcmd|write_files|ssh_pwauth' | sed 's/^/cloud-config: not known: /'
    name=$(value /fqdn $flat)
    [ -n "$name" ] || name=$(value /hostname $flat)
    [ -n "$name" ] && set_hostname "$name"
    configured_passwords
    configured_keys
    configured_files
    commands runcmd >/run/pileus/runcmd
    [ -s /run/pileus/runcmd ] && run_script /run/pileus/runcmd
    rm -f $flat
}

configured_passwords() {
    password=$(value /password $flat)
    [ -n "$password" ] && echo "$user:$password" | chpasswd
    password=
    list=$(value /chpasswd/list $flat)
    [ -n "$list" ] && echo "$list" | grep : | chpasswd
    sed -n 's|^/chpasswd/list/[0-9]*=||p' $flat | while IFS= read -r line; do printf '%b\n' "$line"; done | chpasswd
    number=0
    while name=$(value "/chpasswd/users/$number/name" $flat) && [ -n "$name" ]; do
        echo "$name:$(value "/chpasswd/users/$number/password" $flat)" | chpasswd $([ "$(value "/chpasswd/users/$number/type" $flat)" = hash ] && echo -e)
        number=$((number + 1))
    done
}

configured_keys() {
    sed -n 's|^/ssh_authorized_keys/[0-9]*=||p' $flat | while IFS= read -r key; do printf '%b\n' "$key"; done >/run/pileus/keys
    [ -s /run/pileus/keys ] || return 0
    cat $state/keys >>/run/pileus/keys
    authorize /run/pileus/keys
}

configured_files() {
    number=0
    while path=$(value "/write_files/$number/path" $flat) && [ -n "$path" ]; do
        at=/write_files/$number
        mkdir -p "$(dirname "$path")"
        case $(value $at/append $flat) in true | yes | True) ;; *) : >"$path" ;; esac
        case $(value $at/encoding $flat) in
        b64 | base64) value $at/content $flat | base64 -d >>"$path" ;;
        gz+b64 | gz+base64 | gzip+base64) value $at/content $flat | base64 -d | gunzip >>"$path" ;;
        gz | gzip) echo "write_files: encoding of $path is not known" ;;
        *) value $at/content $flat >>"$path" ;;
        esac
        permissions=$(value $at/permissions $flat)
        [ -n "$permissions" ] && chmod "${permissions#0o}" "$path"
        owner=$(value $at/owner $flat)
        [ -n "$owner" ] && chown "$owner" "$path"
        number=$((number + 1))
    done
}

quoted() { printf "'%s' " "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

# The commands of list $1 as a script: a text is a shell command, a list is a program with its arguments.
commands() {
    number=0
    started=
    while grep -q "^/$1/$number[/=]" $flat; do
        [ -n "$started" ] || echo '#!/bin/sh'
        started=yes
        if grep -q "^/$1/$number=" $flat; then
            value "/$1/$number" $flat
        else
            argument=0
            while grep -q "^/$1/$number/$argument=" $flat; do
                quoted "$(value "/$1/$number/$argument" $flat)"
                argument=$((argument + 1))
            done
        fi
        echo
        number=$((number + 1))
    done
}
