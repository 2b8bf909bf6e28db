// Measures and disturbs the guest's clock without paraclock's help, so that the tests
// judge it by something it had no part in. Built statically; prints JSON.
//
//   probe offset HOST PORT COUNT   CLOCK_REALTIME against an NTP server: the exchange with the least delay of COUNT
//   probe ptp DEVICE               CLOCK_REALTIME against a PTP clock: the narrowest reading the device can give
//   probe adjtimex                 the kernel's state
//   probe step SECONDS             steps CLOCK_REALTIME by so much
//   probe frequency PPM            sets the kernel's frequency correction
//   probe setphc DEVICE SECONDS    sets a PTP clock to CLOCK_REALTIME plus so much
//   probe control SOCKET           asks paraclock for everything it publishes
//
// An offset is positive when CLOCK_REALTIME is ahead.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ptp_clock.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;
static const int64_t NTP_TO_UNIX = 2208988800; // seconds from 1900 to 1970

static void fail(const char *what) {
  fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t read_clock(clockid_t id) {
  struct timespec t;
  if (clock_gettime(id, &t)) fail("clock_gettime");
  return t.tv_sec * SECOND + t.tv_nsec;
}

static struct timespec to_timespec(int64_t ns) {
  struct timespec t = {.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
  return t;
}

static void put64(unsigned char *at, uint64_t value) {
  for (int i = 7; i >= 0; i--, value >>= 8) at[i] = value & 0xff;
}

static uint64_t get64(const unsigned char *at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++) value = value << 8 | at[i];
  return value;
}

static int64_t from_ntp(uint64_t ntp) {
  return ((int64_t)(ntp >> 32) - NTP_TO_UNIX) * SECOND + (int64_t)(((ntp & 0xffffffff) * SECOND) >> 32);
}

static int offset(const char *host, const char *port, int count) {
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  if (inet_pton(AF_INET, host, &server.sin_addr) != 1) fail(host);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server)) fail("connect");
  int64_t best_delay = INT64_MAX, best_offset = 0;
  int answers = 0;
  for (int i = 0; i < count; i++) {
    unsigned char packet[48] = {0x23}, reply[128]; // version 4, client
    uint64_t cookie = (uint64_t)read_clock(CLOCK_MONOTONIC_RAW);
    put64(packet + 40, cookie);
    // Delay by the clock that nobody steers, offset by the one that is judged.
    int64_t raw_sent = read_clock(CLOCK_MONOTONIC_RAW), sent = read_clock(CLOCK_REALTIME);
    if (send(fd, packet, sizeof packet, 0) < 0) continue;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (poll(&ready, 1, 300) > 0) {
      ssize_t size = recv(fd, reply, sizeof reply, 0);
      int64_t raw_received = read_clock(CLOCK_MONOTONIC_RAW);
      if (size < 0) break;
      if (size < 48 || (reply[0] & 7) != 4 || reply[1] == 0 || get64(reply + 24) != cookie) continue;
      int64_t arrived = from_ntp(get64(reply + 32)), left = from_ntp(get64(reply + 40));
      int64_t elapsed = raw_received - raw_sent, delay = elapsed - (left - arrived);
      answers++;
      if (delay < best_delay) {
        best_delay = delay;
        best_offset = sent + elapsed / 2 - (arrived + (left - arrived) / 2);
      }
      break;
    }
  }
  if (!answers) {
    fprintf(stderr, "probe: no answer from %s:%s\n", host, port);
    return 1;
  }
  printf("{\"offset\": %.9f, \"delay\": %.9f, \"answers\": %d}\n", best_offset / 1e9, best_delay / 1e9, answers);
  return 0;
}

static int64_t from_ptp(struct ptp_clock_time t) {
  return t.sec * SECOND + t.nsec;
}

static clockid_t clock_of(int fd) {
  return (clockid_t)(((unsigned)~fd << 3) | 3);
}

static int ptp(const char *device) {
  int fd = open(device, O_RDWR);
  if (fd < 0) fail(device);
  const char *method = "precise";
  int64_t best = 0, window = INT64_MAX;
  struct ptp_sys_offset_precise precise = {0};
  struct ptp_sys_offset_extended extended = {.n_samples = PTP_MAX_SAMPLES};
  if (ioctl(fd, PTP_SYS_OFFSET_PRECISE, &precise) == 0) {
    best = from_ptp(precise.sys_realtime) - from_ptp(precise.device);
    window = 0;
  } else if (ioctl(fd, PTP_SYS_OFFSET_EXTENDED, &extended) == 0) {
    method = "extended";
    for (unsigned i = 0; i < extended.n_samples; i++) {
      int64_t before = from_ptp(extended.ts[i][0]), after = from_ptp(extended.ts[i][2]);
      if (after - before >= window) continue;
      window = after - before;
      best = before + window / 2 - from_ptp(extended.ts[i][1]);
    }
  } else {
    method = "gettime";
    for (int i = 0; i < 25; i++) {
      int64_t before = read_clock(CLOCK_REALTIME), read = read_clock(clock_of(fd)), after = read_clock(CLOCK_REALTIME);
      if (after - before >= window) continue;
      window = after - before;
      best = before + window / 2 - read;
    }
  }
  printf("{\"offset\": %.9f, \"window\": %.9f, \"method\": \"%s\"}\n", best / 1e9, window / 1e9, method);
  return 0;
}

static int show_adjtimex(void) {
  struct timex t = {0};
  int state = adjtimex(&t);
  if (state < 0) fail("adjtimex");
  // tick is in microseconds for each of 100 ticks a second: 1 is 100 ppm.
  printf("{\"frequency_ppm\": %.6f, \"tick\": %ld, \"rate_ppm\": %.6f, \"status\": %d, \"synchronised\": %s,"
         " \"maxerror\": %.6f, \"esterror\": %.6f, \"tai\": %d}\n",
         t.freq / 65536.0, t.tick, t.freq / 65536.0 + (t.tick - 10000) * 100.0, t.status,
         state != TIME_ERROR && !(t.status & STA_UNSYNC) ? "true" : "false", t.maxerror / 1e6, t.esterror / 1e6, t.tai);
  return 0;
}

static int step(double seconds) {
  struct timespec t = to_timespec(read_clock(CLOCK_REALTIME) + (int64_t)(seconds * 1e9));
  if (clock_settime(CLOCK_REALTIME, &t)) fail("clock_settime");
  return 0;
}

static int frequency(double ppm) {
  struct timex t = {.modes = ADJ_FREQUENCY, .freq = (long)(ppm * 65536)};
  if (adjtimex(&t) < 0) fail("adjtimex");
  return 0;
}

static int setphc(const char *device, double seconds) {
  int fd = open(device, O_RDWR);
  if (fd < 0) fail(device);
  struct timespec t = to_timespec(read_clock(CLOCK_REALTIME) + (int64_t)(seconds * 1e9));
  if (clock_settime(clock_of(fd), &t)) fail("clock_settime of the PTP clock");
  return 0;
}

static int control(const char *path) {
  static const char request[] = "{\"command\":\"report\"}\n";
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail(path);
  if (write(fd, request, sizeof request - 1) < 0) fail("write");
  char text[65536];
  ssize_t size;
  while ((size = read(fd, text, sizeof text)) > 0) {
    fwrite(text, 1, size, stdout);
    if (text[size - 1] == '\n') return 0;
  }
  return 1;
}

int main(int argc, char **argv) {
  const char *command = argc > 1 ? argv[1] : "";
  if (argc == 5 && !strcmp(command, "offset")) return offset(argv[2], argv[3], atoi(argv[4]));
  if (argc == 3 && !strcmp(command, "ptp")) return ptp(argv[2]);
  if (argc == 2 && !strcmp(command, "adjtimex")) return show_adjtimex();
  if (argc == 3 && !strcmp(command, "step")) return step(atof(argv[2]));
  if (argc == 3 && !strcmp(command, "frequency")) return frequency(atof(argv[2]));
  if (argc == 4 && !strcmp(command, "setphc")) return setphc(argv[2], atof(argv[3]));
  if (argc == 3 && !strcmp(command, "control")) return control(argv[2]);
  fprintf(stderr, "usage: probe offset HOST PORT COUNT | ptp DEVICE | adjtimex | step SECONDS | frequency PPM"
                  " | setphc DEVICE SECONDS | control SOCKET\n");
  return 2;
}
