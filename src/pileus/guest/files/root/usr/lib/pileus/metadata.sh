# Functions that find the server's metadata and apply it; sourced by `late`. OpenStack's format from a config drive or from the metadata
# service, else EC2's from the service. What belongs to one instance is done once for each instance id.
found=/run/pileus/metadata
service=http://169.254.169.254
source=
user=pileus
state=/var/lib/pileus

# One value of the metadata, which lies there as PATH=VALUE lines (see flatten.awk). No program is started for it: that would cost 30 ms.
value() {
    while IFS= read -r line; do
        case $line in
        "$1="*)
            printf '%b' "${line#*=}"
            return 0
            ;;
        esac
    done <"${2:-$found/flat}"
    return 1
} 2>/dev/null

# Disks beside the root disk: remember the config drive, use swap, mount the ephemeral disk. Other disks are the user's.
extra_disks() {
    config_drive=
    others=
    main=$(readlink -f "/sys/class/block/$(sed -n 's|^/dev/\([^ ]*\) / .*|\1|p' /proc/mounts | tail -n 1)/..")
    for block in /sys/block/*; do
        name=${block##*/}
        case $name in "${main##*/}" | loop* | ram* | zram* | fd* | dm-*) continue ;; esac
        read -r size <"$block/size"
        [ "$size" -gt 0 ] && others="$others /dev/$name"
    done
    [ -n "$others" ] || return 0
    blkid -c /dev/null $others >/run/pileus/disks
    while IFS= read -r facts; do
        device=${facts%%:*}
        case $facts in
        *' LABEL="config-2"'* | *' LABEL="CONFIG-2"'*)
            config_drive=$device
            config_type=${facts##* TYPE=\"}
            config_type=${config_type%%\"*}
            ;;
        *' TYPE="swap"'*) swapon "$device" ;;
        *' LABEL="ephemeral0"'*) mount -t "$(blkid -c /dev/null -o value -s TYPE "$device")" "$device" /mnt ;;
        esac
    done </run/pileus/disks
}

read_config_drive() {
    [ -n "$config_drive" ] || return 1
    mkdir -p /run/pileus/config $found
    # The type is named, for busybox tries only the file systems whose drivers are loaded.
    mount -o ro -t "$config_type" "$config_drive" /run/pileus/config || return 1
    if [ -f /run/pileus/config/openstack/latest/meta_data.json ]; then
        cp /run/pileus/config/openstack/latest/meta_data.json $found/
        cp /run/pileus/config/openstack/latest/user_data $found/ 2>/dev/null
        cp -r /run/pileus/config/openstack/content $found/ 2>/dev/null
        source="config drive $config_drive"
    fi
    umount /run/pileus/config
    [ -n "$source" ]
}

# Status 1: the service has no such thing; above 100: it did not answer.
fetch() {
    timeout 4 wget -q -O "$2" "$service/$1" 2>/dev/null && return 0
    status=$?
    rm -f "$2"
    return $status
}

read_openstack() {
    fetch openstack/latest/meta_data.json $found/meta_data.json || return
    fetch openstack/latest/user_data $found/user_data
    source="$service/openstack"
}

# EC2's metadata is a directory of texts; write what we use in the form of the other.
read_ec2() {
    fetch latest/meta-data/instance-id $found/instance-id || return 1
    fetch latest/meta-data/local-hostname $found/local-hostname
    fetch latest/user-data $found/user_data
    {
        echo "/uuid=$(cat $found/instance-id)"
        echo "/hostname=$(cat $found/local-hostname 2>/dev/null)"
        fetch latest/meta-data/public-keys/ $found/keys && while IFS='=' read -r number name || [ -n "$number" ]; do
            fetch "latest/meta-data/public-keys/$number/openssh-key" $found/key && echo "/public_keys/$name=$(head -n 1 $found/key)"
        done <$found/keys
    } >$found/flat
    source="$service/latest"
}

has_network() { for nic in /sys/class/net/*/device; do [ -e "$nic" ] && return 0; done; return 1; }

# Wait for an address, at most `$1` tenths of a second; then ask, a second time if the service does not answer.
read_service() {
    has_network || return 1
    mkdir -p $found
    tenths=0
    until [ -e /run/pileus/online ]; do
        [ $tenths -ge "$1" ] && return 1
        usleep 100000
        tenths=$((tenths + 1))
    done
    for attempt in 1 2; do
        read_openstack && return 0
        [ $? -gt 100 ] && continue
        read_ec2 && return 0
        [ $attempt -eq 1 ] && sleep 1
    done
    return 1
}

flatten() { [ -f $found/meta_data.json ] && awk -v kind=json -f /usr/lib/pileus/flatten.awk $found/meta_data.json >$found/flat; return 0; }

find_metadata() {
    read_config_drive || read_service 80 || return 1
    flatten
}

# Make the metadata true; what was done for this instance before is left as the user has it now.
apply_metadata() {
    [ -n "$source" ] || return 0
    instance=$(value /uuid)
    read -r known 2>/dev/null <$state/instance
    new_instance=
    [ -n "$instance" ] && [ "$instance" != "$known" ] || return 0
    new_instance=yes
    [ -n "$known" ] && /usr/lib/pileus/ssh-server new-key
    name=$(value /hostname)
    [ -n "$name" ] && set_hostname "$name"
    sed -n 's|^/public_keys/[^=]*=||p' $found/flat | while IFS= read -r key; do printf '%b\n' "$key"; done >$found/authorized_keys
    authorize $found/authorized_keys
    password=$(value /admin_pass)
    [ -n "$password" ] && echo "$user:$password" | chpasswd
    password=
    write_personality
    echo "$instance" >$state/instance
}

set_hostname() {
    short=${1%%.*}
    echo "$short" >/etc/hostname
    hostname "$short"
    sed -i '/^127.0.1.1/d' /etc/hosts
    if [ "$short" = "$1" ]; then echo "127.0.1.1 $short"; else echo "127.0.1.1 $1 $short"; fi >>/etc/hosts
}

# Replace the keys that an earlier instance was given by those in file $1; keys that the user added stay.
authorize() {
    keys=/home/$user/.ssh/authorized_keys
    mkdir -p /home/$user/.ssh
    touch $keys $state/keys
    { grep -vxFf $state/keys $keys; cat "$1"; } >$keys.new
    cp "$1" $state/keys
    mv $keys.new $keys
    chmod 700 /home/$user/.ssh
    chmod 600 $keys
    chown -R $user:$user /home/$user/.ssh
}

# Files that came with the server ("personality"): the config drive has their content, the service is asked for it.
write_personality() {
    number=0
    while path=$(value "/files/$number/path") && [ -n "$path" ]; do
        content=$(value "/files/$number/content_path")
        mkdir -p "$(dirname "$path")"
        if [ -f "$found/content/${content##*/}" ]; then cp "$found/content/${content##*/}" "$path"; else fetch "openstack$content" "$path"; fi
        number=$((number + 1))
    done
}

# A server whose address came late gets its metadata late: try again for some minutes.
keep_looking() {
    [ -z "$source" ] || return 0
    for attempt in $(seq 60); do
        sleep 5
        if read_service 0; then
            flatten
            apply_metadata
            echo "pileus-guest: metadata from $source" >/dev/console
            run_user_data
            return 0
        fi
    done
}
