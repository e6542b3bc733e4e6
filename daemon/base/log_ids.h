// SPDX-License-Identifier: MIT
// The MESSAGE_IDs of events that an administrator or a program may look for in the journal. What
// each means and what to do about it is in systemd/machnet.catalog (`journalctl -x`); a lint test
// holds the two together. An id is for ever: an event that changes its meaning gets a new one.
#pragma once

namespace mn::log_id {

constexpr char kServing[] = "16964dedfcf3491a9313650d45cd755d";
constexpr char kStopping[] = "47826412d7224256a245ece0148728c7";
constexpr char kStopForced[] = "83c030866a9c49308867342c18117ad4";
constexpr char kNicUp[] = "4f90c9f3528b48d4aa0dd5ac81271b20";
constexpr char kNicFailed[] = "32514efc8e584f649696ddd83a1725c3";
constexpr char kLinkDown[] = "3a631981a8b74fa389be6bb746b6e169";
constexpr char kLinkUp[] = "bc3fe16c3f394d689347e10cf0ecb39c";
constexpr char kNicReset[] = "f03c432a069c4fc58f93149d5cbe2501";
constexpr char kConfigRefused[] = "d71eff9b693a4bf398562fabe7b52bce";
constexpr char kReloaded[] = "39e63e3d33cd45e1873f619708e31547";
constexpr char kReloadRefused[] = "5ed9a2c6760345a3be38eaece7bea476";
constexpr char kNeedsRestart[] = "be180fa2e5b44ae7a7f402685ae5c7ba";
constexpr char kEngineStuck[] = "33cfd04a819646c49e4a0047a8ea2e50";
constexpr char kEngineBack[] = "7b1ceadf47774643a8a2ec1902e6cb17";
constexpr char kClientFault[] = "9b991d62cdf14239a876ac58aee783c0";
constexpr char kNicTaken[] = "e90c482b7d864cfc8bc876de05c99e45";
constexpr char kNicRefused[] = "7e4f4b384bfe41e4a1ad6f9323531f2f";
constexpr char kNicGivenBack[] = "2c5b0b2d3c544648ac21ff105fd3b007";
constexpr char kNicNotGivenBack[] = "61e055a0940042b2b438e08c99812696";
constexpr char kHugepages[] = "eb033f53a2284fffa3633faaaa19ffdf";
constexpr char kNoDescriptors[] = "16d076c4ce0446d2bacaa559069655ce";

}  // namespace mn::log_id
