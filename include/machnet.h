/* SPDX-License-Identifier: MIT
 *
 * Machnet: reliable, ordered messages between applications on different hosts (or on the same one),
 * through a service that drives the NIC from user space. The whole public API.
 *
 * Results: 0 on success, -1 with errno on failure, where a function does not say otherwise. Nothing
 * prints, nothing aborts. A call that fails has changed nothing: nothing was sent, received or
 * taken over. But machnet_detach always frees, and after ETIMEDOUT of machnet_listen or
 * machnet_unlisten it is not known whether the service has done it.
 *
 * Threads: one channel per thread at a time. Use one channel in each thread, or hand a channel over
 * with a lock of your own. Calls on different channels may run at the same time. After fork, the
 * child uses none of its parent's channels, machnet_detach included; it attaches its own. No
 * function may be called from a signal handler; none raises SIGPIPE.
 *
 * Units: lengths in bytes, times in the unit of their name; addresses and ports of MachnetFlow in
 * host byte order. Addresses given as text are dotted quads ("10.0.0.1"); names are not looked up.
 *
 * Promise: while a flow lives, every message sent on it arrives once, whole, unchanged and in
 * order. When that cannot be kept, the flow ends, and both programs hear of it: by an event and by
 * machnet_send.
 *
 * The service is found at /run/machnet/machnet.sock, or where the environment's MACHNET_SOCKET
 * says (not in programs that run with more rights than their user).
 *
 * Any call on a channel may fail with these (machnet_buffer_free and machnet_view_release with
 * EINVAL only, and they work on a dead channel, too):
 * - EINVAL: an argument is NULL or out of range: an error in the program.
 * - ESHUTDOWN: the service has ended or closed the channel; all its flows are gone. Seen at once by
 *   a call that waits, within about a millisecond by calls that poll, and then by every call. Call
 *   machnet_detach, and machnet_attach when the service is back.
 * - EPROTO: the service broke the protocol (it is damaged, or no Machnet). As ESHUTDOWN.
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

#define MACHNET_MSG_MAX_LEN (8 * 1024 * 1024) /* bytes of the longest message */

/* A flow: a connection between two programs, named by its ends. machnet_connect returns it with
 * this host as src, and so machnet_send takes it. A received message carries the sender as src: to
 * answer, swap src and dst. */
struct MachnetFlow {
  uint32_t src_ip;
  uint32_t dst_ip;
  uint16_t src_port;
  uint16_t dst_port;
};
typedef struct MachnetFlow MachnetFlow_t;

struct MachnetIovec {
  void* base;
  size_t len;
};
typedef struct MachnetIovec MachnetIovec_t;

struct MachnetMsgHdr {
  uint32_t msg_size;       /* bytes of the whole message */
  MachnetFlow_t flow_info; /* send: src is this host; receive: src is the sender */
  MachnetIovec_t* msg_iov; /* the message's pieces, or room for them */
  size_t msg_iovlen;
  uint16_t flags; /* ignored when sending, not touched when receiving */
};
typedef struct MachnetMsgHdr MachnetMsgHdr_t;

/* ---- The published API ---- */

/* Is the service there, and does it speak our version? Keeps nothing open; optional, once per
 * process. Blocks while a service is starting: 10 s at most for the connection, and as long for the
 * answer.
 * - ENOENT, ECONNREFUSED: no service runs.
 * - EACCES: the user is not in the socket's group.
 * - EPROTONOSUPPORT: library and service have no version in common.
 * - EDQUOT: too many connections to the service, or of this user.
 * - ETIMEDOUT, ECONNRESET: the service does not answer, or hung up.
 * - EPROTO: what answers is no Machnet.
 * - ENAMETOOLONG, ENOTDIR, ELOOP, EPROTOTYPE: MACHNET_SOCKET is too long, or no socket of Machnet.
 * - EMFILE, ENFILE, ENOBUFS, ENOMEM: no descriptor or no memory for a socket.
 * - EAFNOSUPPORT: this process may not have Unix sockets. */
int machnet_init(void);

/* A new channel, the caller's until machnet_detach; NULL with errno on failure: errors as
 * machnet_init, where EMFILE, ENFILE and ENOMEM may be about the channel, too. Blocks while the
 * service works, normally well below a millisecond, for 4 s longer than machnet_init at most. A
 * channel takes two descriptors and one for each engine of the service, one more when machnet_wait
 * first sleeps and one for machnet_fd.
 * - EDQUOT: the service has as many channels, or gives them as much memory, as it may, in all or
 *   for this user.
 * - ENOMEM, ENOBUFS: also: the service has no memory for a channel, or an engine no room.
 * - EAGAIN: the process locks its memory (mlockall), and the channel is beyond its limit. */
void* machnet_attach(void);

/* From now on peers may connect to this port, 1 to 65535; their messages come from machnet_recv.
 * local_ip: an address of the service's; NULL or "0.0.0.0": all of them. Blocks until the service
 * answers, for 4 s at most.
 * - EADDRINUSE: a listener, or a flow that was opened from this host, has the port.
 * - EADDRNOTAVAIL: not an address of the service.
 * - EDQUOT: this user has as many listeners as it may.
 * - ENOBUFS: an engine has no room for another listener.
 * - ETIMEDOUT: the service hangs. ECONNRESET: it is stopping. */
int machnet_listen(void* channel, const char* local_ip, uint16_t port);

/* Opens a flow to a listener; *flow is for machnet_send. local_ip: NULL or "0.0.0.0" lets the
 * service choose. Blocks for one round trip, for 4 s at most.
 * - EINVAL: also a remote_ip that is no host's (0.0.0.0/8, 224.0.0.0/3).
 * - ECONNREFUSED: nobody listens there, or its program has no room for another flow.
 * - ENETUNREACH: no NIC of the service leads there. EHOSTUNREACH: no host answers to ARP.
 * - ETIMEDOUT: no answer.
 * - EADDRNOTAVAIL: local_ip is not the service's, or all its ports are in use.
 * - EADDRINUSE: the local ports that were tried have flows to that peer already; try again.
 * - EDQUOT: this user has opened as many flows as it may; close some.
 * - ENOBUFS: too many flows of this channel or of the service; close some.
 * - ECONNABORTED, ECONNRESET: the service is stopping. */
int machnet_connect(void* channel, const char* local_ip, const char* remote_ip,
                    uint16_t remote_port, MachnetFlow_t* flow);

/* Sends a message of 1 to MACHNET_MSG_MAX_LEN bytes; the bytes were copied when it returns. Never
 * blocks. 0 means: accepted, and delivered if the flow lives. On failure nothing of the message was
 * sent:
 * - EINVAL: an empty message.
 * - EMSGSIZE: a message longer than MACHNET_MSG_MAX_LEN (or than all buffers of the channel).
 * - EAGAIN: no buffers, because the receiver or the network is slower: machnet_wait (or poll), then
 *   send again.
 * - ENOTCONN: the flow is not one of this channel, or the program has closed it.
 * - EPIPE: the peer has closed the flow.
 * - ECONNRESET: the peer's program died, or reset the flow.
 * - ETIMEDOUT: the peer's host no longer answers.
 *
 * The last three are returned from the flow's end until machnet_close, or until another flow takes
 * its place (ENOTCONN then). */
int machnet_send(const void* channel, MachnetFlow_t flow, const void* buf, size_t len);

/* As machnet_send, with the message gathered from pieces. EINVAL also when the pieces are not
 * msg_size bytes. */
int machnet_sendmsg(const void* channel, const MachnetMsgHdr_t* msghdr);

/* Sends vlen messages in order and returns how many were accepted: vlen, or less with errno as
 * machnet_sendmsg leaves it for the first one refused (0 if that is the first of all). -1: none,
 * because channel or msghdr_iovec is NULL, vlen is negative or the channel is dead. */
int machnet_sendmmsg(const void* channel, const MachnetMsgHdr_t* msghdr_iovec, int vlen);

/* The next complete message: its bytes, or 0 when none waits, or -1. Never blocks. *flow (may be
 * NULL) says who sent it. Messages of one flow come in order; a long one that is still arriving
 * lets those of other flows pass. EMSGSIZE: it is longer than len; it stays, try again with more
 * room. Programs that do not know how much: machnet_recvmsg says it. */
ssize_t machnet_recv(const void* channel, void* buf, size_t len, MachnetFlow_t* flow);

/* As machnet_recv, scattered over msg_iov: 1, 0 when no message waits, -1. Sets msg_size and
 * flow_info, also when it fails with EMSGSIZE: msg_size is then the room needed. */
int machnet_recvmsg(const void* channel, MachnetMsgHdr_t* msghdr);

/* ---- Leaving ---- */

/* Closes the channel's flows after all that was sent on them, stops its listeners and frees the
 * channel, in every case (but EINVAL: it is NULL): the pointer, its views and buffers are invalid
 * afterwards, also when it returns -1. Blocks until the peers have everything, for 1 s at most (2 s
 * if the service hangs).
 * - ETIMEDOUT: what was left is lost and the peers see a reset.
 * - ESHUTDOWN, EPROTO, ECONNRESET: the service was gone already, or is stopping. */
int machnet_detach(void* channel);

/* Closes a flow, in both directions, after all that was sent on it. Messages of it that were not
 * received yet are dropped, no event of it follows; its views stay. Does not block. Also forgets a
 * flow that has ended. ENOTCONN: no such flow. */
int machnet_close(void* channel, MachnetFlow_t flow);

/* Takes machnet_listen back, with the same address and port; flows stay. Blocks until the service
 * answers, for 4 s at most. ENOENT: the channel is not listening there. ETIMEDOUT: the service
 * hangs. ECONNRESET: it is stopping. */
int machnet_unlisten(void* channel, const char* local_ip, uint16_t port);

/* ---- Blocking ---- */

/* Sleeps until a message or an event waits or, after a send failed with EAGAIN, until there is room
 * for it: 1. 0: timeout_ms milliseconds passed (0: only looks, negative: no limit). EINTR: a signal
 * came. EMFILE, ENFILE, ENOMEM, ENOSPC: no descriptor to sleep on. A program that never calls
 * machnet_next_event is woken once by each event. */
int machnet_wait(void* channel, int timeout_ms);

/* A descriptor for poll, select and epoll, readable when machnet_wait would return at once (and
 * when the service is gone: the next call says so). It belongs to the channel: do not read, write
 * or close it. Before blocking on it, and after a send that failed with EAGAIN, call machnet_recv,
 * machnet_recvmsg, machnet_recv_view or machnet_next_event until it returns 0. EMFILE, ENFILE,
 * ENOMEM, ENOSPC: no descriptor. */
int machnet_fd(void* channel);

/* ---- Flow events ---- */

enum MachnetEventType {
  MACHNET_EVENT_ACCEPTED = 1, /* a peer connected to a listener */
  MACHNET_EVENT_CLOSED = 2,   /* the peer closed; all it sent was delivered before */
  MACHNET_EVENT_RESET = 3,    /* the peer's program or service died; messages may be lost */
  MACHNET_EVENT_DEAD = 4      /* the peer's host no longer answers; messages may be lost */
};
struct MachnetEvent {
  uint32_t type;      /* enum MachnetEventType */
  MachnetFlow_t flow; /* as machnet_send takes it: src is this host */
};
typedef struct MachnetEvent MachnetEvent_t;

/* The next event: 1, 0 when none waits, -1. Never blocks. The end of a flow is told after its last
 * message was received, so a program that wants events has to receive too. A flow's end needs no
 * machnet_close. Events may be ignored; the first call says that they are not: before it, the
 * oldest are given up when there are more than two for each flow that the channel can have. */
int machnet_next_event(void* channel, MachnetEvent_t* event);

/* ---- Without a copy ---- */

/* Buffers for a message of len bytes. *iovlen in: room in iov, out: pieces, each to be filled from
 * its base, all full but the last. They are the caller's until machnet_buffer_send or
 * machnet_buffer_free. Never blocks. EAGAIN: no buffers now. EMSGSIZE: *iovlen is too small (it
 * then says how many are needed; iov may be NULL), or len too large. EINVAL: also len 0. */
int machnet_buffer_alloc(void* channel, size_t len, MachnetIovec_t* iov, size_t* iovlen);

/* Sends them as one message; they are the service's then. Of the last piece, less may be sent (a
 * smaller len). On failure they stay the caller's; errors as machnet_send, EINVAL also for pieces
 * that are not what machnet_buffer_alloc gave. Neither blocks nor copies (but where the flow lives
 * on another engine than the one of the last machnet_send before the buffers were taken: then it
 * copies, and EAGAIN is possible). */
int machnet_buffer_send(void* channel, MachnetFlow_t flow, const MachnetIovec_t* iov,
                        size_t iovlen);

/* Gives buffers back unsent. EINVAL: not the caller's. */
int machnet_buffer_free(void* channel, const MachnetIovec_t* iov, size_t iovlen);

struct MachnetView {
  MachnetFlow_t flow;        /* src is the sender, as with machnet_recv */
  size_t size;               /* bytes of the message */
  const MachnetIovec_t* iov; /* pieces in order, the library's; read only */
  size_t iovlen;
  void* handle; /* the library's */
};
typedef struct MachnetView MachnetView_t;

/* The next message where it lies: 1, 0 when none waits, -1. Never blocks. Each view keeps buffers
 * from the service: who holds many slows its senders down. ENOMEM: the message stays. */
int machnet_recv_view(void* channel, MachnetView_t* view);

/* Gives the message back, once, and clears *view; in any order. EINVAL: it was given back already
 * (seen by the cleared view only: do not keep copies). */
int machnet_view_release(void* channel, MachnetView_t* view);

/* ---- Looking ---- */

struct MachnetFlowStats {         /* counts since the flow began */
  uint64_t tx_messages, tx_bytes; /* that the service has taken over */
  uint64_t rx_messages, rx_bytes; /* handed to the channel; bytes with those that frame bundles */
  uint64_t tx_packets, rx_packets, retransmitted_packets; /* with data; tx: those again included */
  uint64_t timeouts;                                      /* retransmission timeouts */
  uint64_t rtt_smoothed_ns, rtt_min_ns;                   /* round trip; 0: not measured yet */
  uint64_t rto_ns;                                        /* retransmission timeout */
  uint64_t tx_queued_bytes;                               /* not yet sent for the first time */
  uint32_t window_packets;                                /* most that may be in flight */
  uint32_t packets_in_flight;
  uint32_t mss; /* payload bytes of a packet, as far as the path is known to take them */
  uint32_t reserved[5];
};
typedef struct MachnetFlowStats MachnetFlowStats_t;

/* Numbers of a live flow, src being this host. Blocks until the service answers, for 4 s at most:
 * not for the data path. ENOTCONN, EPIPE, ECONNRESET, ETIMEDOUT as machnet_send (ECONNRESET also:
 * the service is stopping; ETIMEDOUT also: it hangs). ENOENT: the flow has ended, and the channel
 * has not heard of it yet. */
int machnet_flow_stats(void* channel, MachnetFlow_t flow, MachnetFlowStats_t* stats);

/* "1.0.0": static storage, never NULL. */
const char* machnet_version(void);

#ifdef __cplusplus
}
#endif
#endif /* MACHNET_H */
