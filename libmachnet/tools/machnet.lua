-- SPDX-License-Identifier: MIT
-- Wireshark's dissector of Machnet packets (daemon/wire/packet_header.h, bundle.h): see machnet-wireshark(7).
-- Claims UDP datagrams that are Machnet packets in every respect, follows both directions of a flow, and tells
-- what one packet alone cannot: numbers from the flow's beginning, repetitions, round trips. Runs with Wireshark
-- 3.6 and later (Lua 5.2 to 5.4: so no operators and no libraries for bits).

-- ---- The format. test/lint/dissector.py compares these tables with packet_header.h.

local VALUES = {
  kVersion = 1, kHeaderSize = 32, kSackRangesMax = 16, kSackRangeSize = 4, kMssMin = 64, kOptionsSize = 32,
  kFeatureParts = 1, kFeatureCoalescing = 2,
}
local TYPES = {
  [1] = "Open", [2] = "OpenAck", [3] = "Data", [4] = "Ack", [5] = "Close", [6] = "Reset", [7] = "Probe",
  [8] = "Part",
}
local FLAGS = { First = 1, Last = 2, AckNow = 4, Reflected = 8, More = 16 }
local FLAGS_ALL = 31
-- Offset and size of each field.
local HEADER = {
  version = {0, 1}, flags = {1, 1}, window = {2, 2}, tag = {4, 4}, sequence = {8, 4}, ack = {12, 4},
  timestamp = {16, 4}, echo = {20, 4}, echo_delay = {24, 2}, payload_length = {26, 2}, message_count = {28, 1},
  sack_count = {29, 1}, extra = {30, 2},
}
local OPTIONS = {
  version_min = {0, 1}, version_max = {1, 1}, mss = {2, 2}, tag = {4, 4}, first_sequence = {8, 4},
  features = {12, 4}, window = {16, 2}, engine = {18, 2}, reserved = {20, 4}, cookie = {24, 8},
}
-- ---- End of what is compared.

local OPEN, OPEN_ACK, DATA, ACK, CLOSE, RESET, PROBE, PART = 1, 2, 3, 4, 5, 6, 7, 8
local NAMES_LESS = {[DATA] = true, [CLOSE] = true, [PROBE] = true} -- than came, by so many
local SHARES = {[DATA] = true, [ACK] = true, [CLOSE] = true, [PROBE] = true, [PART] = true} -- a datagram (datagram.h)
local PORTS_SIZE = 4
local WRAP = 4294967296
local ECHO_DELAY_MAX = 65535 -- stands for "longer"

local machnet = Proto("machnet", "Machnet")

machnet.prefs.relative = Pref.bool("Relative sequence numbers", true,
  "Count packets from the beginning of the flow, or from the first one that was captured")

local flag_names = { First = "First segment of a message", Last = "Last segment of a message",
                     AckNow = "Acknowledge at once", Reflected = "Tag is reflected",
                     More = "More parts of a packet follow" }

local f = {
  version = ProtoField.uint8("machnet.version", "Version", base.DEC, nil, 0xf0),
  type = ProtoField.uint8("machnet.type", "Type", base.DEC, TYPES, 0x0f),
  flags = ProtoField.uint8("machnet.flags", "Flags", base.HEX),
  window = ProtoField.uint16("machnet.window", "Window", base.UNIT_STRING, {" packet", " packets"},
    nil, "Packets that the sender of this one can take from the acknowledged one on"),
  tag = ProtoField.uint32("machnet.tag", "Verification tag", base.HEX, nil, nil,
    "Chosen by the receiver of this packet, for this life of the flow"),
  sequence = ProtoField.uint32("machnet.seq", "Sequence number", base.DEC),
  sequence_raw = ProtoField.uint32("machnet.seq_raw", "Sequence number (raw)", base.DEC),
  ack = ProtoField.uint32("machnet.ack", "Acknowledgment number", base.DEC, nil, nil,
    "The data packet that is expected next"),
  ack_raw = ProtoField.uint32("machnet.ack_raw", "Acknowledgment number (raw)", base.DEC),
  timestamp = ProtoField.uint32("machnet.timestamp", "Timestamp", base.DEC, nil, nil,
    "The sender's clock in units of 32 ns"),
  echo = ProtoField.uint32("machnet.echo", "Echoed timestamp", base.DEC, nil, nil,
    "Timestamp of the packet that made the sender set its acknowledgment"),
  echo_delay = ProtoField.uint16("machnet.echo_delay", "Echo held for", base.UNIT_STRING, {" us", " us"}),
  payload_length = ProtoField.uint16("machnet.payload_length", "Payload length", base.DEC),
  message_count = ProtoField.uint8("machnet.message_count", "Messages in the bundle", base.DEC),
  sack_count = ProtoField.uint8("machnet.sack_count", "SACK ranges", base.DEC),
  reserved = ProtoField.uint16("machnet.reserved", "Reserved", base.HEX),
  part_from = ProtoField.uint16("machnet.part_from", "Part from byte", base.DEC, nil, nil,
    "Where in the messages of the packet with this sequence number the payload begins"),
  parts_came = ProtoField.uint16("machnet.parts_came", "Parts came of the packet", base.UNIT_STRING,
    {" byte", " bytes"}, nil, "Of the messages of the packet that is expected next"),
  probe_came = ProtoField.uint16("machnet.probe_came", "Padded probe came", base.UNIT_STRING, {" byte", " bytes"},
    nil, "Payload of a probe that the sender of this packet received"),
  unnamed = ProtoField.uint16("machnet.unnamed", "Packets without room for their ranges", base.DEC, nil, nil,
    "Came after the one that is expected next, and are not named by SACK ranges here"),
  padding = ProtoField.bytes("machnet.padding", "Padding"),
  sack = ProtoField.none("machnet.sack", "SACK range"),
  sack_start = ProtoField.uint16("machnet.sack.start", "Start (after the acknowledgment number)", base.DEC),
  sack_packets = ProtoField.uint16("machnet.sack.packets", "Packets", base.DEC),
  sack_first = ProtoField.uint32("machnet.sack.first", "First", base.DEC),
  sack_last = ProtoField.uint32("machnet.sack.last", "Last", base.DEC),
  table = ProtoField.none("machnet.bundle", "Table of lengths"),
  message_length = ProtoField.uint16("machnet.message.length", "Message length", base.DEC),
  message = ProtoField.bytes("machnet.message", "Message"),
  segment = ProtoField.bytes("machnet.segment", "Segment of a message"),
  options = ProtoField.none("machnet.options", "Handshake options"),
  version_min = ProtoField.uint8("machnet.options.version_min", "Oldest version", base.DEC),
  version_max = ProtoField.uint8("machnet.options.version_max", "Newest version", base.DEC),
  mss = ProtoField.uint16("machnet.options.mss", "Payload bytes in a packet, at most", base.DEC),
  own_tag = ProtoField.uint32("machnet.options.tag", "Tag for packets to the sender", base.HEX),
  first_sequence = ProtoField.uint32("machnet.options.first_sequence", "First sequence number (raw)", base.DEC),
  features = ProtoField.uint32("machnet.options.features", "Features", base.HEX),
  own_window = ProtoField.uint16("machnet.options.window", "Window", base.DEC),
  engine = ProtoField.uint16("machnet.options.engine", "Engine", base.DEC, nil, nil,
    "The one of the sender's NIC that has the flow"),
  src_port = ProtoField.uint16("machnet.srcport", "Source port", base.DEC, nil, nil,
    "Of a packet that shares a datagram and is not its first"),
  dst_port = ProtoField.uint16("machnet.dstport", "Destination port", base.DEC),
  options_reserved = ProtoField.bytes("machnet.options.reserved", "Reserved"),
  cookie = ProtoField.uint64("machnet.options.cookie", "Cookie", base.HEX),
  more_options = ProtoField.bytes("machnet.options.more", "Options of later versions"),
  -- What follows from other packets.
  stream = ProtoField.uint32("machnet.stream", "Flow index", base.DEC, nil, nil,
    "Flows in the order of their first captured packets; another life of the same addresses and ports is another"),
  retransmission = ProtoField.framenum("machnet.analysis.retransmission_of", "Retransmission of the packet in frame",
    base.NONE, frametype.RETRANS_PREV),
  acked_frame = ProtoField.framenum("machnet.analysis.acks_frame", "Acknowledges up to the packet in frame",
    base.NONE, frametype.ACK),
  echoed_frame = ProtoField.framenum("machnet.analysis.echoed_frame", "Echoes the packet in frame"),
  rtt = ProtoField.relative_time("machnet.analysis.rtt", "Round trip from the place of the capture",
    "From the echoed packet to this one, without the time for which the peer held the echo"),
  in_flight = ProtoField.uint32("machnet.analysis.in_flight", "Packets in flight", base.DEC, nil, nil,
    "Sent up to this one, and not acknowledged in what was captured before it"),
  handshake_time = ProtoField.relative_time("machnet.analysis.handshake_time", "Since the handshake's request"),
}
local flag_fields = {} -- by bit, the highest first
for name, bit in pairs(FLAGS) do
  f["flag_" .. name] = ProtoField.bool("machnet.flags." .. name:lower(), flag_names[name], 8, nil, bit)
  flag_fields[#flag_fields + 1] = { bit = bit, field = f["flag_" .. name] }
end
table.sort(flag_fields, function(a, b) return a.bit > b.bit end)
machnet.fields = f

local function expert_of(name, text, group, severity)
  return ProtoExpert.new("machnet.expert." .. name, text, group, severity)
end
local e = {
  malformed = expert_of("malformed", "No right Machnet packet", expert.group.MALFORMED, expert.severity.ERROR),
  retransmission = expert_of("retransmission", "Retransmission", expert.group.SEQUENCE, expert.severity.NOTE),
  out_of_order = expert_of("out_of_order", "Out of order, or repeats a packet that was not captured",
    expert.group.SEQUENCE, expert.severity.NOTE),
  gap = expert_of("gap", "Packets before this one were not captured", expert.group.SEQUENCE, expert.severity.NOTE),
  loss = expert_of("sack", "The peer misses packets (SACK)", expert.group.SEQUENCE, expert.severity.NOTE),
  zero_window = expert_of("zero_window", "Zero window: the receiving application does not keep up",
    expert.group.SEQUENCE, expert.severity.WARN),
  window_probe = expert_of("window_probe", "Probe of a closed window", expert.group.SEQUENCE, expert.severity.NOTE),
  path_probe = expert_of("path_probe", "Padded probe: does the path take packets of this size?",
    expert.group.SEQUENCE, expert.severity.NOTE),
  part = expert_of("part", "Part of a packet that was too large for the path", expert.group.SEQUENCE,
    expert.severity.NOTE),
  keep_alive = expert_of("keep_alive", "Probe: keep-alive", expert.group.SEQUENCE, expert.severity.CHAT),
  open = expert_of("open", "A flow is asked for", expert.group.SEQUENCE, expert.severity.CHAT),
  open_again = expert_of("open_again", "The handshake's request again", expert.group.SEQUENCE, expert.severity.NOTE),
  close = expert_of("close", "The sender has no more messages", expert.group.SEQUENCE, expert.severity.CHAT),
  reset = expert_of("reset", "Reset: the flow is gone", expert.group.SEQUENCE, expert.severity.WARN),
}
local all_experts = {}
for _, one in pairs(e) do all_experts[#all_experts + 1] = one end
machnet.experts = all_experts

-- ---- Reading

local function at(field) return field[1], field[2] end
local function number_of(buffer, field, offset)
  return buffer((offset or 0) + field[1], field[2]):uint()
end
local function aligned(n) return n + (8 - n % 8) % 8 end
local function has_flag(flags, bit) return math.floor(flags / bit) % 2 == 1 end
local function captured(buffer, offset, size) return offset + size <= buffer:len() end
local function is_handshake(kind) return kind == OPEN or kind == OPEN_ACK end

-- Plain values of a header that is all there; nil if it is none at all.
local function read_header(buffer)
  if buffer:len() < VALUES.kHeaderSize then return nil end
  local first = number_of(buffer, HEADER.version)
  local h = { version = math.floor(first / 16), type = first % 16 }
  if h.version ~= VALUES.kVersion or not TYPES[h.type] then return nil end
  for name, field in pairs(HEADER) do
    if name ~= "version" then h[name] = number_of(buffer, field) end
  end
  h.payload_at = VALUES.kHeaderSize + VALUES.kSackRangeSize * h.sack_count
  return h
end

local function sack_fault(buffer, h)
  local allowed = 1
  for i = 0, h.sack_count - 1 do
    local offset = VALUES.kHeaderSize + VALUES.kSackRangeSize * i
    if not captured(buffer, offset, VALUES.kSackRangeSize) then return nil end
    local start, count = buffer(offset, 2):uint(), buffer(offset + 2, 2):uint()
    if start < allowed or count == 0 then return "SACK ranges are empty or not in order" end
    allowed = start + count + 1
  end
  if allowed > 65536 then return "SACK ranges beyond 16 bits" end
end

local function bundle_fault(buffer, h)
  local stop = h.payload_at + aligned(2 * h.message_count)
  if stop > h.payload_at + h.payload_length then return "the bundle's table is longer than the payload" end
  if stop > buffer:len() then return nil end
  stop = stop - h.payload_at
  for i = 0, h.message_count - 1 do
    local length = buffer(h.payload_at + 2 * i, 2):uint()
    if length == 0 then return "an empty message in a bundle" end
    stop = aligned(stop) + length
  end
  if stop ~= h.payload_length then return "the bundle's lengths do not add up to the payload" end
end

local function options_fault(buffer, h)
  if h.payload_length < VALUES.kOptionsSize then return "handshake options are too short" end
  if not captured(buffer, h.payload_at, VALUES.kOptionsSize) then return nil end
  local low = number_of(buffer, OPTIONS.version_min, h.payload_at)
  if low == 0 or low > number_of(buffer, OPTIONS.version_max, h.payload_at) then
    return "impossible range of versions"
  end
  if number_of(buffer, OPTIONS.mss, h.payload_at) < VALUES.kMssMin then return "mss too small" end
  if number_of(buffer, OPTIONS.tag, h.payload_at) == 0 then return "no tag" end
end

-- What parse_packet in packet_header.cc would refuse; nil: nothing, as far as the packet was captured.
local function fault_of(buffer, h)
  local whole = has_flag(h.flags, FLAGS.First) and has_flag(h.flags, FLAGS.Last)
  if h.flags > FLAGS_ALL then return "unknown flags" end
  if h.type ~= DATA and h.type ~= PART and h.message_count ~= 0 then
    return "messages in a packet that is no bundle"
  end
  if h.type ~= DATA and h.type ~= PART and (has_flag(h.flags, FLAGS.First) or has_flag(h.flags, FLAGS.Last)) then
    return "messages in a packet without data"
  end
  if h.type ~= PART and h.type ~= ACK and has_flag(h.flags, FLAGS.More) then
    return "more parts of a packet that is none"
  end
  if h.type ~= RESET and has_flag(h.flags, FLAGS.Reflected) then return "a reflected tag outside a reset" end
  if h.sack_count > VALUES.kSackRangesMax then return "too many SACK ranges" end
  if h.sack_count ~= 0 and (is_handshake(h.type) or h.type == RESET) then return "SACK in a handshake or reset" end
  if h.type == OPEN and h.tag ~= 0 then return "a tag in a handshake's request" end
  if h.payload_at + h.payload_length ~= buffer:reported_len() then return "lengths do not add up" end
  local fault = sack_fault(buffer, h)
  if fault then return fault end
  if h.type == DATA or h.type == PART then
    if h.payload_length == 0 then return "a data packet without data" end
    if h.message_count == 0 then return nil end
    if not whole then return "a bundle without the flags of whole messages" end
    return bundle_fault(buffer, h)
  end
  if is_handshake(h.type) then return options_fault(buffer, h) end
  if h.payload_length ~= 0 and h.type ~= PROBE then return "payload in a packet that has none" end
end

-- The packets of a datagram, as far as they were captured, and what the receiver refuses all of them for; nil: no
-- packet of ours.
local function packets_of(buffer, pinfo)
  local src_port, dst_port, h = pinfo.src_port, pinfo.dst_port, read_header(buffer)
  if not h then return nil end
  local size, from, packets = buffer:reported_len(), 0, {}
  if h.payload_at + h.payload_length >= size then
    return {{ buffer = buffer, h = h, src_port = src_port, dst_port = dst_port }}, fault_of(buffer, h)
  end
  while captured(buffer, from, VALUES.kHeaderSize) do
    h = read_header(buffer(from):tvb())
    if not h then return packets, "bytes after a packet that are none" end
    local length = h.payload_at + h.payload_length
    if not SHARES[h.type] or h.type == PROBE and h.payload_length > 0 then
      return packets, "a packet that has to travel alone is not"
    end
    if from + length > size then return packets, "lengths do not add up" end
    if not captured(buffer, from, length) then return packets end
    local one = { buffer = buffer(from, length):tvb(), h = h, src_port = src_port, dst_port = dst_port }
    one.ports = from > 0 and buffer(from - PORTS_SIZE, PORTS_SIZE) or nil
    one.fault = fault_of(one.buffer, h)
    packets[#packets + 1] = one
    from = from + length + PORTS_SIZE
    if from - PORTS_SIZE == size then return packets end
    if from > size then return packets, "lengths do not add up" end
    if not captured(buffer, from - PORTS_SIZE, PORTS_SIZE) then return packets end
    src_port, dst_port = buffer(from - PORTS_SIZE, 2):uint(), buffer(from - PORTS_SIZE + 2, 2):uint()
  end
  return packets, from + VALUES.kHeaderSize > size and "bytes after a packet that are none" or nil
end

-- ---- Flows: what is known from the packets so far, both directions

local flows, flow_count, facts = {}, 0, {}

function machnet.init()
  flows, flow_count, facts = {}, 0, {}
end

local function new_direction() return { frames = {}, sent_at = {} } end

-- The flow of a packet and its direction's two halves: `own` of its sender, `peer` of its receiver.
local function flow_of(pinfo, packet, own_tag)
  local h = packet.h
  local here = tostring(pinfo.src) .. ":" .. packet.src_port
  local there = tostring(pinfo.dst) .. ":" .. packet.dst_port
  local key = here < there and here .. " " .. there or there .. " " .. here
  local flow = flows[key]
  -- Somebody asks with another tag: that is another life. (Both may ask at once: each has one tag.)
  if flow and h.type == OPEN and own_tag and flow[here].tag and flow[here].tag ~= own_tag then flow = nil end
  if not flow then
    flow = { index = flow_count, [here] = new_direction(), [there] = new_direction() }
    flow_count = flow_count + 1
    flows[key] = flow
  end
  return flow, flow[here], flow[there]
end

local function relative(number, base)
  return (number - base) % WRAP
end
-- Is a before b, as numbers that wrap?
local function before(a, b) return a ~= b and (b - a) % WRAP < WRAP / 2 end

local function note_sequence(pinfo, h, own, peer, fact)
  if not own.base then own.base = h.sequence end
  -- The parts of a packet are repetitions of it, and of each other.
  if h.type == DATA or h.type == CLOSE or h.type == PART then
    local seen = own.frames[h.sequence]
    if seen then
      fact.retransmission_of = seen
    else
      own.frames[h.sequence] = pinfo.number
      if own.next and before(h.sequence, own.next) then fact.out_of_order = true end
      if own.next and before(own.next, h.sequence) then fact.gap = true end
    end
    local following = (h.sequence + 1) % WRAP
    if not own.next or before(own.next, following) then own.next = following end
    if peer.acked then fact.in_flight = relative(own.next, peer.acked) end
  end
end

local function note_ack(h, own, peer, fact)
  if not peer.base then peer.base = h.ack end
  if not own.acked or before(own.acked, h.ack) then
    own.acked = h.ack
    fact.acks_frame = peer.frames[(h.ack - 1) % WRAP]
  end
end

local function note_echo(pinfo, h, peer, fact)
  local echoed = h.echo ~= 0 and peer.sent_at[h.echo]
  if not echoed then return end
  fact.echoed_frame = echoed.frame
  if h.echo_delay < ECHO_DELAY_MAX then
    local rtt = pinfo.rel_ts - echoed.time - h.echo_delay / 1e6
    if rtt >= 0 then fact.rtt = rtt end
  end
end

-- Looked at once, in the order of the capture; later dissections of the same frame use what was kept.
local function follow(pinfo, packet)
  local buffer, h = packet.buffer, packet.h
  local own_tag, first_sequence
  if is_handshake(h.type) and captured(buffer, h.payload_at, VALUES.kOptionsSize) then
    own_tag = number_of(buffer, OPTIONS.tag, h.payload_at)
    first_sequence = number_of(buffer, OPTIONS.first_sequence, h.payload_at)
  end
  local flow, own, peer = flow_of(pinfo, packet, own_tag)
  local fact = { stream = flow.index }
  if own_tag then
    fact.repeated = own.tag == own_tag
    own.tag, own.base = own_tag, first_sequence
    own.next = own.next or first_sequence
  end
  if h.type == OPEN then
    own.opened_at = own.opened_at or pinfo.rel_ts
  elseif h.type == OPEN_ACK and peer.opened_at then
    fact.handshake_time = pinfo.rel_ts - peer.opened_at
  end
  if h.type ~= OPEN and h.type ~= RESET then
    if h.type ~= OPEN_ACK then note_sequence(pinfo, h, own, peer, fact) end
    note_ack(h, own, peer, fact)
    note_echo(pinfo, h, peer, fact)
    fact.peer_window = peer.window
    own.window = h.window
  end
  -- Packets of one moment share a timestamp; after two minutes they come round again.
  local sent = own.sent_at[h.timestamp]
  if not sent or pinfo.rel_ts - sent.time > 60 then
    own.sent_at[h.timestamp] = { frame = pinfo.number, time = pinfo.rel_ts }
  end
  fact.own_base, fact.peer_base = own.base or h.sequence, peer.base or h.ack
  return fact
end

-- ---- Showing

local function add_generated(tree, field, value)
  return tree:add(field, value):set_generated()
end

local function add_range(tree, field, buffer, place, offset)
  return tree:add(field, buffer((offset or 0) + place[1], place[2]))
end

local function time_of(seconds)
  local whole = math.floor(seconds)
  return NSTime.new(whole, math.floor((seconds - whole) * 1e9 + 0.5))
end

local function show_sack(buffer, tree, h, ack)
  for i = 0, h.sack_count - 1 do
    local offset = VALUES.kHeaderSize + VALUES.kSackRangeSize * i
    if not captured(buffer, offset, VALUES.kSackRangeSize) then return end
    local start, count = buffer(offset, 2):uint(), buffer(offset + 2, 2):uint()
    local first, last = (ack + start) % WRAP, (ack + start + count - 1) % WRAP
    local range = tree:add(f.sack, buffer(offset, VALUES.kSackRangeSize))
    range:append_text(string.format(": %.0f to %.0f", first, last))
    range:add(f.sack_start, buffer(offset, 2))
    range:add(f.sack_packets, buffer(offset + 2, 2))
    add_generated(range, f.sack_first, first)
    add_generated(range, f.sack_last, last)
  end
end

local function show_bundle(buffer, tree, h)
  local stop = h.payload_at + aligned(2 * h.message_count)
  if stop > buffer:len() then return end
  local lengths = tree:add(f.table, buffer(h.payload_at, stop - h.payload_at))
  for i = 0, h.message_count - 1 do
    local range = buffer(h.payload_at + 2 * i, 2)
    lengths:add(f.message_length, range)
    -- Relative to the payload's beginning, which is where the alignment counts from.
    local from = h.payload_at + aligned(stop - h.payload_at)
    stop = from + range:uint()
    if captured(buffer, from, range:uint()) then tree:add(f.message, buffer(from, range:uint())) end
  end
end

local function show_options(buffer, tree, h)
  if not captured(buffer, h.payload_at, h.payload_length) then return end
  local options = tree:add(f.options, buffer(h.payload_at, h.payload_length))
  local from = h.payload_at
  add_range(options, f.version_min, buffer, OPTIONS.version_min, from)
  add_range(options, f.version_max, buffer, OPTIONS.version_max, from)
  add_range(options, f.mss, buffer, OPTIONS.mss, from)
  add_range(options, f.own_tag, buffer, OPTIONS.tag, from)
  add_range(options, f.first_sequence, buffer, OPTIONS.first_sequence, from)
  add_range(options, f.features, buffer, OPTIONS.features, from)
  add_range(options, f.own_window, buffer, OPTIONS.window, from)
  add_range(options, f.engine, buffer, OPTIONS.engine, from)
  add_range(options, f.options_reserved, buffer, OPTIONS.reserved, from)
  add_range(options, f.cookie, buffer, OPTIONS.cookie, from)
  if h.payload_length > VALUES.kOptionsSize then
    options:add(f.more_options, buffer(from + VALUES.kOptionsSize, h.payload_length - VALUES.kOptionsSize))
  end
end

local function show_payload(buffer, tree, h)
  if h.payload_length == 0 or h.payload_at >= buffer:len() then return end
  if h.message_count > 0 then
    show_bundle(buffer, tree, h)
  elseif is_handshake(h.type) then
    show_options(buffer, tree, h)
  elseif h.type == PROBE then
    tree:add(f.padding, buffer(h.payload_at, math.min(h.payload_length, buffer:len() - h.payload_at)))
  elseif h.type == DATA or h.type == PART then
    local whole = has_flag(h.flags, FLAGS.First) and has_flag(h.flags, FLAGS.Last)
    tree:add(whole and f.message or f.segment,
             buffer(h.payload_at, math.min(h.payload_length, buffer:len() - h.payload_at)))
  end
end

local function show_experts(tree, h, fact)
  if fact.retransmission_of then tree:add_proto_expert_info(e.retransmission) end
  if fact.out_of_order then tree:add_proto_expert_info(e.out_of_order) end
  if fact.gap then tree:add_proto_expert_info(e.gap) end
  if h.sack_count > 0 then tree:add_proto_expert_info(e.loss) end
  if h.type == OPEN then tree:add_proto_expert_info(fact.repeated and e.open_again or e.open) end
  if h.type == CLOSE then tree:add_proto_expert_info(e.close) end
  if h.type == RESET then tree:add_proto_expert_info(e.reset) end
  if h.type == PART then tree:add_proto_expert_info(e.part) end
  if h.type == PROBE and h.payload_length > 0 then
    tree:add_proto_expert_info(e.path_probe)
  elseif h.type == PROBE then
    tree:add_proto_expert_info(fact.peer_window == 0 and e.window_probe or e.keep_alive)
  end
  if h.window == 0 and h.type ~= OPEN and h.type ~= RESET then tree:add_proto_expert_info(e.zero_window) end
end

local function show_analysis(tree, fact)
  add_generated(tree, f.stream, fact.stream)
  if fact.retransmission_of then add_generated(tree, f.retransmission, fact.retransmission_of) end
  if fact.acks_frame then add_generated(tree, f.acked_frame, fact.acks_frame) end
  if fact.echoed_frame then add_generated(tree, f.echoed_frame, fact.echoed_frame) end
  if fact.rtt then add_generated(tree, f.rtt, time_of(fact.rtt)) end
  if fact.in_flight then add_generated(tree, f.in_flight, fact.in_flight) end
  if fact.handshake_time then add_generated(tree, f.handshake_time, time_of(fact.handshake_time)) end
end

local function summary(h, fact, sequence, ack)
  local text = TYPES[h.type]
  if h.type ~= OPEN and h.type ~= RESET then
    text = text .. string.format(" Seq=%.0f Ack=%.0f Win=%d", sequence, ack, h.window)
  end
  if h.type == DATA or h.type == PART or (h.type == PROBE and h.payload_length > 0) then
    text = text .. string.format(" Len=%d", h.payload_length)
  end
  if h.type == PART then text = text .. string.format(" From=%d", h.extra) end
  if h.type == ACK and h.extra > 0 then
    local came = has_flag(h.flags, FLAGS.More) and " Came=%d" or " Probe=%d"
    text = text .. string.format(came, h.extra)
  end
  if NAMES_LESS[h.type] and h.extra > 0 then
    text = text .. string.format(" Unnamed=%d", h.extra)
  end
  if h.message_count > 0 then text = text .. string.format(" Messages=%d", h.message_count) end
  if h.sack_count > 0 then text = text .. string.format(" SACK=%d", h.sack_count) end
  if fact.retransmission_of then text = text .. " [Retransmission]" end
  if fact.out_of_order then text = text .. " [Out of order]" end
  if h.window == 0 and h.type ~= OPEN and h.type ~= RESET then text = text .. " [Zero window]" end
  return text
end

local function show_header(buffer, tree, h, sequence, ack)
  add_range(tree, f.version, buffer, HEADER.version)
  add_range(tree, f.type, buffer, HEADER.version)
  local flags = add_range(tree, f.flags, buffer, HEADER.flags)
  for _, one in ipairs(flag_fields) do add_range(flags, one.field, buffer, HEADER.flags) end
  add_range(tree, f.window, buffer, HEADER.window)
  add_range(tree, f.tag, buffer, HEADER.tag)
  tree:add(f.sequence, buffer(at(HEADER.sequence)), sequence)
  add_range(tree, f.sequence_raw, buffer, HEADER.sequence)
  tree:add(f.ack, buffer(at(HEADER.ack)), ack)
  add_range(tree, f.ack_raw, buffer, HEADER.ack)
  add_range(tree, f.timestamp, buffer, HEADER.timestamp)
  add_range(tree, f.echo, buffer, HEADER.echo)
  add_range(tree, f.echo_delay, buffer, HEADER.echo_delay)
  add_range(tree, f.payload_length, buffer, HEADER.payload_length)
  add_range(tree, f.message_count, buffer, HEADER.message_count)
  add_range(tree, f.sack_count, buffer, HEADER.sack_count)
  local came = has_flag(h.flags, FLAGS.More) and f.parts_came or f.probe_came
  local extra = h.type == PART and f.part_from or h.type == ACK and h.extra > 0 and came or
    NAMES_LESS[h.type] and h.extra > 0 and f.unnamed or f.reserved
  add_range(tree, extra, buffer, HEADER.extra)
end

-- The service drops such a packet: it takes no part in the flow.
local function show_refused(buffer, tree, h, fault)
  show_header(buffer, tree, h, h.sequence, h.ack)
  tree:add_proto_expert_info(e.malformed, "No right Machnet packet: " .. fault)
  return TYPES[h.type] .. " [dropped by the receiver: " .. fault .. "]"
end

-- Returns its line for the column of information.
local function show_packet(pinfo, packet, index, root)
  local buffer, h = packet.buffer, packet.h
  local tree = root:add(machnet, buffer())
  if packet.ports then
    tree:add(f.src_port, packet.ports(0, 2))
    tree:add(f.dst_port, packet.ports(2, 2))
  end
  if packet.fault then return show_refused(buffer, tree, h, packet.fault) end
  local key = pinfo.number .. "." .. index
  local fact = facts[key]
  if not fact then
    fact = follow(pinfo, packet)
    facts[key] = fact
  end
  local sequence, ack = h.sequence, h.ack
  if machnet.prefs.relative and h.type ~= OPEN and h.type ~= RESET then
    sequence, ack = relative(sequence, fact.own_base), relative(ack, fact.peer_base)
  end
  local text = summary(h, fact, sequence, ack)
  tree:append_text(", " .. text)
  show_header(buffer, tree, h, sequence, ack)
  show_analysis(tree, fact)
  show_experts(tree, h, fact)
  show_sack(buffer, tree, h, ack)
  show_payload(buffer, tree, h)
  return string.format("%d → %d ", packet.src_port, packet.dst_port) .. text
end

function machnet.dissector(buffer, pinfo, root)
  local packets, fault = packets_of(buffer, pinfo)
  if not packets then return 0 end
  pinfo.cols.protocol = "Machnet"
  if fault then
    pinfo.cols.info = show_refused(buffer, root:add(machnet, buffer()), read_header(buffer), fault)
    return buffer:len()
  end
  local lines = {}
  for index, packet in ipairs(packets) do lines[index] = show_packet(pinfo, packet, index, root) end
  pinfo.cols.info = table.concat(lines, " | ")
  return buffer:len()
end

machnet:register_heuristic("udp", function(buffer, pinfo, root)
  local packets, fault = packets_of(buffer, pinfo)
  if not packets or fault then return false end
  for _, packet in ipairs(packets) do
    local h = packet.h
    local says_more = h.type == PART or h.type == ACK or NAMES_LESS[h.type]
    if packet.fault or h.extra ~= 0 and not says_more then return false end
  end
  pinfo.conversation = machnet -- so that damaged packets of this flow are shown as such
  machnet.dissector(buffer, pinfo, root)
  return true
end)

DissectorTable.get("udp.port"):add_for_decode_as(machnet)
