// SPDX-License-Identifier: MIT
// The main of a fuzz target where libFuzzer is not linked: replays every file of the corpus
// directories named on the command line, then a fixed number of mutations of each from a fixed
// seed, so that a run is the same run every time. A crash prints the input that caused it.
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t kMutationsPerFile = 300;
constexpr size_t kInputMax = 1 << 16;

uint64_t rng_state = 0x9e3779b97f4a7c15ull;
const std::vector<uint8_t>* current_input = nullptr;

uint64_t next_random() {
  rng_state ^= rng_state << 13;
  rng_state ^= rng_state >> 7;
  rng_state ^= rng_state << 17;
  return rng_state;
}

void print_current_input(int signal_number) {
  fprintf(stderr, "fuzz: signal %d on the input of %zu bytes:\n", signal_number,
          current_input == nullptr ? 0 : current_input->size());
  if (current_input != nullptr) {
    for (uint8_t byte : *current_input) fprintf(stderr, "%02x", byte);
  }
  fprintf(stderr, "\n");
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

void run_one(const std::vector<uint8_t>& input) {
  current_input = &input;
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

void mutate(std::vector<uint8_t>* input) {
  const unsigned edits = 1 + next_random() % 4;
  for (unsigned i = 0; i < edits; ++i) {
    const size_t size = input->size();
    switch (next_random() % 5) {
      case 0:
        if (size != 0) (*input)[next_random() % size] ^= uint8_t(1u << (next_random() % 8));
        break;
      case 1:
        if (size != 0) (*input)[next_random() % size] = uint8_t(next_random());
        break;
      case 2:
        input->resize(next_random() % (size + 1));
        break;
      case 3:
        if (size < kInputMax) input->push_back(uint8_t(next_random()));
        break;
      default:
        if (size > 4) {
          const uint32_t edge[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xffff};
          memcpy(input->data() + next_random() % (size - 3), &edge[next_random() % 6], 4);
        }
    }
  }
}

std::vector<std::vector<uint8_t>> read_corpus(const char* path) {
  std::vector<std::vector<uint8_t>> inputs;
  DIR* dir = opendir(path);
  if (dir == nullptr) return inputs;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    FILE* file = fopen((std::string(path) + "/" + entry->d_name).c_str(), "rb");
    if (file == nullptr) continue;
    std::vector<uint8_t> input(kInputMax);
    input.resize(fread(input.data(), 1, input.size(), file));
    fclose(file);
    inputs.push_back(input);
  }
  closedir(dir);
  return inputs;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGABRT, print_current_input);
  signal(SIGSEGV, print_current_input);
  std::vector<std::vector<uint8_t>> inputs = {{}};
  for (int i = 1; i < argc; ++i) {
    for (auto& input : read_corpus(argv[i])) inputs.push_back(input);
  }
  size_t runs = 0;
  for (const auto& original : inputs) {
    run_one(original);
    ++runs;
    std::vector<uint8_t> input = original;
    for (size_t i = 0; i < kMutationsPerFile; ++i, ++runs) {
      if (i % 16 == 0) input = original;
      mutate(&input);
      run_one(input);
    }
  }
  printf("%zu inputs from %zu files\n", runs, inputs.size() - 1);
  return 0;
}
