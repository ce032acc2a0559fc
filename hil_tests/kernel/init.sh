#!/bin/busybox sh
# The machine's first process. The host's files become this machine's own: what is changed goes to
# memory and is forgotten with it, but for what is in the folder that both sides share.
# Whatever fails here ends the machine; its last words are on the console.
set -e
/bin/busybox --install -s /bin
. /settings

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order

mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 host /host
mount -t tmpfs -o size=75% memory /memory
mkdir /memory/changes /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/changes,workdir=/memory/work host /root

for each in proc sys dev; do mount --move /$each /root/$each; done
mkdir -p /root/dev/pts /root/dev/shm /root/lib/modules "/root$SHARED"
mount -t tmpfs memory /root/run
mount -t devpts devpts /root/dev/pts
mount -t tmpfs memory /root/dev/shm
mount -t configfs configfs /root/sys/kernel/config
mount -t debugfs debugfs /root/sys/kernel/debug
mount -o bind "/root$MODULES" /root/lib/modules
mount -t 9p -o trans=virtio,version=9p2000.L,cache=mmap,msize=262144 shared "/root$SHARED"

hostname sedlab
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2

cd /root
export HOME=/root PATH SHARED
chroot /root /sbin/modprobe -a xhci-pci ehci-pci usb-storage uas sd_mod sg
chroot /root "$PYTHON" -I -S "$AGENT" || echo "sedlab: the agent failed"
echo o > /root/proc/sysrq-trigger
sleep 60
