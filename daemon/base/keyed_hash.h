// SPDX-License-Identifier: MIT
// KeyedHash: SipHash-2-4 (Aumasson and Bernstein, 2012) of two 64-bit words. For hash tables whose
// keys a remote host chooses (nobody without the key can aim at one chain) and for values that must
// not be guessed (tags, first sequence numbers: hash a counter). Pure; about 10 ns.
#pragma once

#include <bit>
#include <cstdint>

namespace mn {

class KeyedHash {
 public:
  constexpr KeyedHash(uint64_t key0, uint64_t key1) : key0_(key0), key1_(key1) {}

  // The standard's result for the 16 bytes a, b in little-endian order.
  constexpr uint64_t operator()(uint64_t a, uint64_t b = 0) const {
    State s{key0_ ^ 0x736f6d6570736575, key1_ ^ 0x646f72616e646f6d, key0_ ^ 0x6c7967656e657261,
            key1_ ^ 0x7465646279746573};
    s.absorb(a);
    s.absorb(b);
    s.absorb(uint64_t{16} << 56);  // the length stands in the last block's top byte
    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++) s.round();
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
  }

 private:
  struct State {
    uint64_t v0, v1, v2, v3;
    constexpr void round() {
      v0 += v1;
      v1 = std::rotl(v1, 13) ^ v0;
      v0 = std::rotl(v0, 32);
      v2 += v3;
      v3 = std::rotl(v3, 16) ^ v2;
      v0 += v3;
      v3 = std::rotl(v3, 21) ^ v0;
      v2 += v1;
      v1 = std::rotl(v1, 17) ^ v2;
      v2 = std::rotl(v2, 32);
    }
    constexpr void absorb(uint64_t word) {
      v3 ^= word;
      round();
      round();
      v0 ^= word;
    }
  };

  uint64_t key0_, key1_;
};

}  // namespace mn
