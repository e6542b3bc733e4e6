// SPDX-License-Identifier: MIT
// A temporary folder with the files that a test puts there; gone with its object.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "device/sys_root.h"

namespace mn::test {

class ScratchFolder {
 public:
  ScratchFolder() {
    char name[] = "/tmp/mn-device-XXXXXX";
    if (mkdtemp(name) != nullptr) path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string path(const std::string& file) const { return path_ + "/" + file; }
  device::SysRoot root() const { return device::SysRoot::below(path_); }

  void write(const std::string& file, const std::string& text) const {
    std::error_code ignored;
    std::filesystem::create_directories(std::filesystem::path(path(file)).parent_path(), ignored);
    std::ofstream(path(file)) << text;
  }
  std::string read(const std::string& file) const {
    std::ostringstream text;
    text << std::ifstream(path(file)).rdbuf();
    return text.str();
  }

 private:
  std::string path_;
};

}  // namespace mn::test
