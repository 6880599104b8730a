// In the emulator's place of card.cpp: a small card, and the emulator's own findings.
#include "../launch.h"
#include "context.h"

int flexpose::current_card(Card& card) {
  card = Card{emulator::settings().processors, emulator::settings().shared_limit};
  return FLEXPOSE_OK;
}

const char* flexpose_error_text(int status) {
  if (status == FLEXPOSE_EMULATOR_FAILURE) return flexpose::emulator::settings().failure.c_str();
  return "the emulator has no such error";
}
