// A block of threads on a processor: what device.cuh asks of the card, answered with fibers. The kernel bodies run
// unchanged, so that their arithmetic, their indices and their barriers are tested without a card.
//
// It is made to find mistakes, not to be fast. Warps take turns in a random order and run as far ahead of each other as
// barriers allow, and an asynchronous copy lands at once or as late as it may: a missing barrier or wait changes the
// result. Shared memory starts as
// NaN and ends in a guard; addresses of copies and of ldmatrix are checked.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <random>
#include <string>
#include <vector>

#include "../types.cuh"

namespace flexpose::emulator {

class Block;

struct Copy {
  unsigned char* to;
  unsigned char data[16];
};

// What a lane shows to the others of its warp.
struct Exchange {
  int operation;
  const void* row;
  std::uint32_t a[4], b[2];
};

class Context {
 public:
  int thread() const { return thread_; }
  std::int64_t block() const { return block_index_; }
  unsigned char* shared() const { return shared_; }
  void sync();
  void copy16(void* to, const void* from, bool valid);
  void commit();
  template <int N>
  void wait() {
    wait_for(N);
  }
  void ldmatrix(std::uint32_t (&to)[4], const void* row);
  template <class T>
  void mma(float (&sum)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    const Exchange* const warp = exchange(Exchange{2, nullptr, {a[0], a[1], a[2], a[3]}, {b0, b1}});
    const int lane = thread_ % 32;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4, half = i / 2, column = lane % 4 * 2 + i % 2;
      float total = sum[i];
      for (int k = 0; k < 16; ++k) {
        const int pair = k % 8 / 2;
        const std::uint32_t left = warp[row * 4 + pair].a[k / 8 * 2 + half];
        const std::uint32_t right = warp[column * 4 + pair].b[k / 8];
        total += widen(element<T>(left, k % 2)) * widen(element<T>(right, k % 2));
      }
      sum[i] = total;
    }
  }

 private:
  friend class Block;

  template <class T>
  static T element(std::uint32_t pair, int which) {
    return T{static_cast<std::uint16_t>(pair >> (16 * which))};
  }

  const Exchange* exchange(const Exchange& mine);
  void wait_for(int newest);
  void check(const void* address, const char* what) const;
  void fail(const std::string& message) const;
  void pause();

  Block* owner_ = nullptr;
  int thread_ = 0;
  std::int64_t block_index_ = 0;
  unsigned char* shared_ = nullptr;
  ucontext_t fiber_{};  // where it begins
  jmp_buf here_{};      // where it goes on
  bool started_ = false, done_ = false;
  int block_barriers_ = 0, warp_barriers_ = 0;  // that this thread has come to; it waits at the last
  std::vector<Copy> open_;
  std::vector<std::vector<Copy>> groups_;
};

// Runs the threads of one block after another.
class Block {
 public:
  Block(int threads, std::size_t shared_bytes, unsigned seed);

  // Run `body` in each thread of block `index`. Empty, or what went wrong.
  template <class Body>
  std::string run(std::int64_t index, const Body& body) {
    body_ = [](void* state, Context& context) { (*static_cast<const Body*>(state))(context); };
    body_state_ = const_cast<Body*>(&body);
    return run_block(index);
  }

 private:
  friend class Context;

  static void enter(unsigned high, unsigned low);
  std::string run_block(std::int64_t index);
  bool ready(const Context& context) const;
  void go_on(Context& context);
  static int arrive(std::vector<int>& arrivals, int already);

  std::size_t shared_bytes_;
  std::vector<unsigned char> memory_;
  std::vector<Context> contexts_;
  std::vector<Exchange> exchanges_[2];
  // How many threads have come to the first, second, ... barrier of the block, and of each warp.
  std::vector<int> block_arrivals_;
  std::vector<std::vector<int>> warp_arrivals_;
  std::mt19937 random_;
  jmp_buf scheduler_{};
  std::string failure_;
  void (*body_)(void*, Context&) = nullptr;
  void* body_state_ = nullptr;
};

// One start of a kernel.
struct Launch {
  std::string kernel;  // mangled
  std::int64_t blocks, shared_bytes;
};

// How the next launches run, and what became of the last ones.
struct Settings {
  unsigned seed = 0;  // of the order of threads and copies
  std::int64_t shared_limit = 99 * 1024;  // bytes that a block may have
  int processors = 4;
  bool dry = false;  // only write the launches down, whatever the pointers
  std::vector<Launch> launches;
  std::string failure;
};
Settings& settings();

}  // namespace flexpose::emulator
