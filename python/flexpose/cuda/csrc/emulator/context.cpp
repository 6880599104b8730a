#include "context.h"

#include <algorithm>
#include <memory>
#include <numeric>

namespace flexpose::emulator {

namespace {
constexpr std::size_t kStack = 64 * 1024, kGuard = 4096;
constexpr unsigned char kPoison = 0xff;  // NaN in every type

// Stacks of the fibers, kept from launch to launch and never cleared.
unsigned char* stacks(std::size_t threads) {
  thread_local std::size_t room = 0;
  thread_local std::unique_ptr<unsigned char[]> memory;
  if (room < threads) {
    memory.reset(new unsigned char[threads * kStack]);
    room = threads;
  }
  return memory.get();
}
}  // namespace

Settings& settings() {
  static Settings instance;
  return instance;
}

void Context::fail(const std::string& message) const {
  if (owner_->failure_.empty())
    owner_->failure_ = "block " + std::to_string(block_index_) + ", thread " + std::to_string(thread_) + ": " + message;
}

// swapcontext would ask the system about signals each time; a jump does not.
void Context::pause() {
  if (_setjmp(here_) == 0) _longjmp(owner_->scheduler_, 1);
}

void Block::go_on(Context& context) {
  if (_setjmp(scheduler_) != 0) return;
  if (context.started_) _longjmp(context.here_, 1);
  context.started_ = true;
  setcontext(&context.fiber_);
}

void Context::check(const void* address, const char* what) const {
  const auto* const at = static_cast<const unsigned char*>(address);
  if (at < shared_ || at + 16 > shared_ + owner_->shared_bytes_) fail(std::string(what) + " leaves shared memory");
  if (reinterpret_cast<std::uintptr_t>(at) % 16 != 0) fail(std::string(what) + " is not aligned to 16 bytes");
}

void Context::sync() {
  block_barriers_ = Block::arrive(owner_->block_arrivals_, block_barriers_);
  pause();
}

void Context::copy16(void* to, const void* from, bool valid) {
  check(to, "a copy");
  if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0) fail("a copy's source is not aligned to 16 bytes");
  if (!owner_->failure_.empty()) return pause();
  Copy copy{static_cast<unsigned char*>(to), {}};
  if (valid) std::memcpy(copy.data, from, sizeof copy.data);
  if (owner_->random_() % 2 == 0) {
    std::memcpy(copy.to, copy.data, sizeof copy.data);
  } else {
    open_.push_back(copy);
  }
}

void Context::commit() {
  groups_.push_back(std::move(open_));
  open_.clear();
}

void Context::wait_for(int newest) {
  while (groups_.size() > static_cast<std::size_t>(newest)) {
    for (const Copy& copy : groups_.front()) std::memcpy(copy.to, copy.data, sizeof copy.data);
    groups_.erase(groups_.begin());
  }
}

const Exchange* Context::exchange(const Exchange& mine) {
  // Two tables in turn: a lane may be one operation ahead of the others, and never two.
  std::vector<Exchange>& table = owner_->exchanges_[warp_barriers_ % 2];
  table[static_cast<std::size_t>(thread_)] = mine;
  warp_barriers_ = Block::arrive(owner_->warp_arrivals_[static_cast<std::size_t>(thread_) / 32], warp_barriers_);
  pause();
  const Exchange* const warp = table.data() + thread_ / 32 * 32;
  for (int lane = 0; lane < 32; ++lane)
    if (warp[lane].operation != mine.operation) fail("the lanes of a warp do different things");
  return warp;
}

void Context::ldmatrix(std::uint32_t (&to)[4], const void* row) {
  check(row, "ldmatrix");
  if (!owner_->failure_.empty()) return pause();
  const Exchange* const warp = exchange(Exchange{1, row, {}, {}});
  const int lane = thread_ % 32;
  for (int i = 0; i < 4; ++i) {
    const auto* const from = static_cast<const unsigned char*>(warp[i * 8 + lane / 4].row);
    std::memcpy(&to[i], from + lane % 4 * 4, 4);
  }
}

Block::Block(int threads, std::size_t shared_bytes, unsigned seed)
    : shared_bytes_(shared_bytes),
      memory_(shared_bytes + kGuard + 16),
      contexts_(static_cast<std::size_t>(threads)),
      random_(seed) {
  for (auto& table : exchanges_) table.resize(contexts_.size());
}

void Block::enter(unsigned high, unsigned low) {
  auto* const context =
      reinterpret_cast<Context*>((static_cast<std::uintptr_t>(high) << 32) | static_cast<std::uintptr_t>(low));
  context->owner_->body_(context->owner_->body_state_, *context);
  context->done_ = true;
  context->pause();
}

// Count one more thread at the barrier behind `already` barriers; returns the barriers it has come to then.
int Block::arrive(std::vector<int>& arrivals, int already) {
  if (arrivals.size() <= static_cast<std::size_t>(already)) arrivals.push_back(0);
  ++arrivals[static_cast<std::size_t>(already)];
  return already + 1;
}

// A thread goes on when all others have come to the barrier it waits at.
bool Block::ready(const Context& context) const {
  if (context.done_) return false;
  const auto open = [](const std::vector<int>& arrivals, int barriers, std::size_t threads) {
    return barriers == 0 || static_cast<std::size_t>(arrivals[static_cast<std::size_t>(barriers) - 1]) == threads;
  };
  return open(block_arrivals_, context.block_barriers_, contexts_.size()) &&
         open(warp_arrivals_[static_cast<std::size_t>(context.thread_) / 32], context.warp_barriers_, 32);
}

std::string Block::run_block(std::int64_t index) {
  failure_.clear();
  block_arrivals_.clear();
  warp_arrivals_.assign(contexts_.size() / 32, {});
  std::fill(memory_.begin(), memory_.end(), kPoison);
  auto* const shared =
      reinterpret_cast<unsigned char*>((reinterpret_cast<std::uintptr_t>(memory_.data()) + 15) / 16 * 16);
  for (std::size_t i = 0; i < contexts_.size(); ++i) {
    Context& context = contexts_[i];
    context = Context();
    context.owner_ = this;
    context.thread_ = static_cast<int>(i);
    context.block_index_ = index;
    context.shared_ = shared;
    getcontext(&context.fiber_);
    context.fiber_.uc_stack.ss_sp = stacks(contexts_.size()) + i * kStack;
    context.fiber_.uc_stack.ss_size = kStack;
    const auto address = reinterpret_cast<std::uintptr_t>(&context);
    makecontext(&context.fiber_, reinterpret_cast<void (*)()>(&Block::enter), 2, static_cast<unsigned>(address >> 32),
                static_cast<unsigned>(address));
  }
  // A warp runs until all its lanes wait for other warps, and only then the next: the warps are as far apart as the
  // barriers allow.
  std::vector<std::size_t> warps(contexts_.size() / 32), lanes(32);
  std::iota(warps.begin(), warps.end(), std::size_t{0});
  std::iota(lanes.begin(), lanes.end(), std::size_t{0});
  const auto all_done = [this] {
    return std::all_of(contexts_.begin(), contexts_.end(), [](const Context& context) { return context.done_; });
  };
  while (!all_done()) {
    bool moved = false;
    std::shuffle(warps.begin(), warps.end(), random_);
    for (const std::size_t warp : warps) {
      for (bool warp_moved = true; warp_moved;) {
        warp_moved = false;
        std::shuffle(lanes.begin(), lanes.end(), random_);
        for (const std::size_t lane : lanes) {
          Context& context = contexts_[warp * 32 + lane];
          if (!ready(context)) continue;
          moved = warp_moved = true;
          go_on(context);
          if (!failure_.empty()) return failure_;
        }
      }
    }
    if (!moved) return "threads wait for others that never come to the barrier";
  }
  for (const Context& context : contexts_)
    if (!context.open_.empty()) return "a copy was never closed into a group";
  for (std::size_t i = 0; i < kGuard; ++i)
    if (shared[shared_bytes_ + i] != kPoison) return "something was written behind the shared memory";
  return {};
}

}  // namespace flexpose::emulator
