/* SPDX-License-Identifier: MIT */
/* The XDP program of mode af_xdp: gives the service the frames that are for its address (IPv4 and
 * ARP) and leaves everything else on the interface to the kernel, so that both can use one NIC.
 * When the service has died its socket is gone from the map and everything goes to the kernel.
 * Loaded for each queue by DPDK's af_xdp driver, which wants one program and a map called xsks_map,
 * and then by xdp_attach.cc, with the sockets of all queues in its map. */
/* The first makes the types that the helpers need. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u32);
} xsks_map SEC(".maps");

/* Filled in by xdp_attach.cc in the copy that it hands to the driver: the mark is how it finds the
 * place. */
volatile const struct {
  __u64 mark;
  __u32 address; /* as on the cable; 0: every frame is for the service */
  __u32 reserved;
} steer_config = {0x6d61636873746565ull, 0, 0};

enum {
  kIpv4Destination = 16, /* behind the Ethernet header */
  kArpTarget = 24,
};

SEC("xdp")
int machnet_steer(struct xdp_md* context) {
  const __u8* const data = (const __u8*)(long)context->data;
  const __u8* const end = (const __u8*)(long)context->data_end;
  const __u32 address = steer_config.address;
  if (address != 0) {
    if (data + ETH_HLEN + kArpTarget + 4 > end) return XDP_PASS;
    const __u16 type = *(const __u16*)(data + 12);
    const __u8* const header = data + ETH_HLEN;
    __u32 target;
    if (type == bpf_htons(ETH_P_IP)) {
      target = *(const __u32*)(header + kIpv4Destination);
    } else if (type == bpf_htons(ETH_P_ARP)) {
      target = *(const __u32*)(header + kArpTarget);
    } else {
      return XDP_PASS;
    }
    if (target != address) return XDP_PASS;
  }
  return bpf_redirect_map(&xsks_map, context->rx_queue_index, XDP_PASS);
}

char steer_license[] SEC("license") = "Dual MIT/GPL";
