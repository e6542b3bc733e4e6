// SPDX-License-Identifier: MIT
// From a name in the configuration (interface, MAC, PCI address, VMBus UUID) to the NIC that is
// meant, also when its interface is gone because we took it: then by what was remembered. Pure;
// never guesses: a name that fits two NICs is an error that names both.
#pragma once

#include <string>

#include "base/result.h"
#include "device/inventory.h"
#include "device/saved_nic.h"

namespace mn::device {

// `saved` is what is remembered under that name, null: nothing; `boot_id` tells whether it is of
// this boot. An error says whether there never was such a NIC, it is gone, or has another name now.
Result<Candidate> find_nic(const Inventory& inventory, const std::string& name,
                           const SavedNic* saved, const std::string& boot_id);

// True: we took it, and the machine has not been booted since.
bool is_taken(const SavedNic& saved, const std::string& boot_id);

}  // namespace mn::device
