// SPDX-License-Identifier: MIT
// A faulty cable: drops packets or flips a bit of them at random, drops all that are too long, and
// passes the rest on, to another interface (a host with two cables) or up the stack. Loaded by
// xdp_loss.c, which sets the constants and reads the counts.
// The order counts: bpf_helpers.h needs the types of bpf.h.
// clang-format off
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
// clang-format on

const volatile __u32 drop_ppm = 0;     // parts per million
const volatile __u32 corrupt_ppm = 0;  // one bit of UDP or of what follows it
const volatile __u32 out_ifindex = 0;  // 0: up the stack
const volatile __u32 mtu = 0;          // longer IP packets vanish; 0: none

enum { kPassed, kDropped, kCorrupted, kCounts };

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, kCounts);
  __type(key, __u32);
  __type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 what) {
  __u64* value = bpf_map_lookup_elem(&counts, &what);
  if (value) __sync_fetch_and_add(value, 1);
}

static __always_inline int chance(__u32 ppm) {
  return ppm != 0 && bpf_get_prandom_u32() % 1000000 < ppm;
}

SEC("xdp")
int xdp_loss(struct xdp_md* context) {
  const __u32 length = context->data_end - context->data;
  if ((mtu != 0 && length > mtu + 14) || chance(drop_ppm)) {
    count(kDropped);
    return XDP_DROP;
  }
  if (chance(corrupt_ppm)) {
    const __u32 random = bpf_get_prandom_u32();
    unsigned char* at = (unsigned char*)(long)context->data + 34 + (random & 31);
    if (at + 1 <= (const unsigned char*)(long)context->data_end) {
      *at ^= 1 << ((random >> 16) & 7);
      count(kCorrupted);
    }
  }
  count(kPassed);
  return out_ifindex != 0 ? bpf_redirect(out_ifindex, 0) : XDP_PASS;
}

char kLicense[] SEC("license") =
    "GPL";  // the kernel asks for it: the random number helper is GPL only
