/* SPDX-License-Identifier: MIT
 *
 * Machnet: reliable, ordered messages between applications on different hosts, through a service that
 * drives the NIC from user space.
 *
 * Every function returns 0 (or a count) on success and -1 with errno on failure, unless it says otherwise.
 * Nothing prints, nothing aborts. A channel belongs to one thread at a time: use one channel per thread, or hand
 * it over with a lock. Functions that take different channels may run at the same time.
 */
#ifndef MACHNET_H
#define MACHNET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MACHNET_MSG_MAX_LEN (8 * 1024 * 1024)

struct MachnetFlow {
  uint32_t src_ip;
  uint32_t dst_ip;
  uint16_t src_port;
  uint16_t dst_port;
};
typedef struct MachnetFlow MachnetFlow_t;

struct MachnetIovec {
  void *base;
  size_t len;
};
typedef struct MachnetIovec MachnetIovec_t;

struct MachnetMsgHdr {
  uint32_t msg_size;
  MachnetFlow_t flow_info;
  MachnetIovec_t *msg_iov;
  size_t msg_iovlen;
  uint16_t flags;
};
typedef struct MachnetMsgHdr MachnetMsgHdr_t;

/* ---- The published API ---- */
int machnet_init(void);
void *machnet_attach(void);
int machnet_listen(void *channel, const char *local_ip, uint16_t port);
int machnet_connect(void *channel, const char *local_ip, const char *remote_ip, uint16_t remote_port,
                    MachnetFlow_t *flow);
int machnet_send(const void *channel, MachnetFlow_t flow, const void *buf, size_t len);
int machnet_sendmsg(const void *channel, const MachnetMsgHdr_t *msghdr);
int machnet_sendmmsg(const void *channel, const MachnetMsgHdr_t *msghdr_iovec, int vlen);
ssize_t machnet_recv(const void *channel, void *buf, size_t len, MachnetFlow_t *flow);
int machnet_recvmsg(const void *channel, MachnetMsgHdr_t *msghdr);

/* ---- Leaving ---- */
int machnet_detach(void *channel);
int machnet_close(void *channel, MachnetFlow_t flow);
int machnet_unlisten(void *channel, const char *local_ip, uint16_t port);

/* ---- Blocking ----
 * machnet_wait: 1 when a message or an event waits, or, after a send failed with EAGAIN, when room came back; 0 when timeout_ms
 * (-1: for ever) passed; -1 on error. machnet_fd: a descriptor for poll, select and epoll, owned by the channel, readable
 * when machnet_wait would return at once; before blocking on it, call machnet_recv (or machnet_next_event) until it returns 0. */
int machnet_wait(void *channel, int timeout_ms);
int machnet_fd(void *channel);

/* ---- Flow events ---- */
enum MachnetEventType {
  MACHNET_EVENT_ACCEPTED = 1, /* a peer connected to a listener */
  MACHNET_EVENT_CLOSED = 2,   /* the peer closed; all it sent was delivered before */
  MACHNET_EVENT_RESET = 3,    /* the peer's application died or refused; messages may be lost */
  MACHNET_EVENT_DEAD = 4      /* the peer's host no longer answers; messages may be lost */
};
struct MachnetEvent {
  uint32_t type; /* enum MachnetEventType */
  MachnetFlow_t flow; /* as machnet_connect gave it, or for an accepted flow as messages to send on it take it: src is this host */
};
typedef struct MachnetEvent MachnetEvent_t;
int machnet_next_event(void *channel, MachnetEvent_t *event); /* 1: an event, 0: none, -1 */

/* ---- Without a copy ---- */
/* Buffers for a message of `len` bytes: *iovlen in: room in iov, out: pieces, each filled from its base, all full but
 * the last. EAGAIN: no buffers now; EMSGSIZE: *iovlen too small (it then says how many are needed) or len too large. */
int machnet_buffer_alloc(void *channel, size_t len, MachnetIovec_t *iov, size_t *iovlen);
int machnet_buffer_send(void *channel, MachnetFlow_t flow, const MachnetIovec_t *iov, size_t iovlen);
int machnet_buffer_free(void *channel, const MachnetIovec_t *iov, size_t iovlen);

struct MachnetView {
  MachnetFlow_t flow;        /* src is the sender, as with machnet_recv */
  size_t size;               /* bytes of the message */
  const MachnetIovec_t *iov; /* pieces in order, the library's until machnet_view_release */
  size_t iovlen;
  void *handle; /* the library's */
};
typedef struct MachnetView MachnetView_t;
int machnet_recv_view(void *channel, MachnetView_t *view); /* 1: a message, 0: none, -1 */
int machnet_view_release(void *channel, MachnetView_t *view);

/* ---- Looking ---- */
struct MachnetFlowStats {
  uint64_t tx_messages, tx_bytes, rx_messages, rx_bytes;
  uint64_t tx_packets, rx_packets, retransmitted_packets, timeouts;
  uint64_t rtt_smoothed_ns, rtt_min_ns, rto_ns;
  uint64_t tx_queued_bytes; /* accepted, not yet sent for the first time */
  uint32_t window_packets;
  uint32_t packets_in_flight;
  uint32_t mss; /* payload bytes of a packet */
  uint32_t reserved[5];
};
typedef struct MachnetFlowStats MachnetFlowStats_t;
int machnet_flow_stats(void *channel, MachnetFlow_t flow, MachnetFlowStats_t *stats);
const char *machnet_version(void); /* "1.0.0", static storage */

#ifdef __cplusplus
}
#endif
#endif /* MACHNET_H */
