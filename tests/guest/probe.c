// Measures and disturbs the guest's clock without paraclock's help, so that the tests
// judge it by something it had no part in. Built statically; prints JSON.
//
//   probe offset HOST PORT COUNT   CLOCK_REALTIME against an NTP server: the exchange with the least delay of COUNT
//   probe ptp DEVICE               CLOCK_REALTIME against a PTP clock: the narrowest reading the device can give
//   probe adjtimex                 the kernel's state
//   probe step SECONDS             steps CLOCK_REALTIME by so much
//   probe frequency PPM            sets the kernel's frequency correction
//   probe setphc DEVICE SECONDS    sets a PTP clock to CLOCK_REALTIME plus so much
//   probe tsc                      how many kHz the CPU's counter runs at; a guest without KVM sees the same counter
//   probe control SOCKET           asks paraclock for everything it publishes
//   probe sample HOST PORT SECONDS SOCKET PERIOD
//                                  writes lines for so long, by CLOCK_MONOTONIC_RAW in ns, on through a snapshot:
//     c RAW REALTIME UNSYNC MAXERROR      every PERIOD ms: the clock and the kernel's state
//     t RAW TRUTH DELAY                   every 10 periods: the server's time
//     p RAW STATUS ERROR GROWTH_PPM       every 10 periods: what paraclock publishes; - for what it does not know
//     b RAW AGE LEFT BOUND STATUS         every PERIOD ms: the ClockBound page if there is one, its age and rest
//
// An offset is positive when CLOCK_REALTIME is ahead.

#define _GNU_SOURCE
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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;
static const int64_t MILLISECOND = 1000000;
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

// The rate of the counter between two readings 0.3 s apart, each the quickest of many.
static int tsc(void) {
  int64_t counter[2], raw[2];
  for (int i = 0; i < 2; i++) {
    int64_t width = INT64_MAX;
    for (int tries = 0; tries < 1000; tries++) {
      int64_t before = read_clock(CLOCK_MONOTONIC_RAW), ticks = (int64_t)__builtin_ia32_rdtsc();
      int64_t after = read_clock(CLOCK_MONOTONIC_RAW);
      if (after - before >= width) continue;
      width = after - before;
      counter[i] = ticks;
      raw[i] = before + width / 2;
    }
    if (i == 0) usleep(300000);
  }
  printf("%lld\n", (long long)((double)(counter[1] - counter[0]) * 1e6 / (double)(raw[1] - raw[0]) + 0.5));
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

// A request to the NTP server or to paraclock that has not been answered yet.
struct pending {
  int fd;
  uint64_t cookie;
  int64_t raw; // when it was sent
  size_t size;
  char text[1 << 17];
};

static void ask_truth(struct pending *truth) {
  unsigned char packet[48] = {0x23}; // version 4, client
  truth->cookie = (uint64_t)read_clock(CLOCK_MONOTONIC_RAW);
  put64(packet + 40, truth->cookie);
  truth->raw = read_clock(CLOCK_MONOTONIC_RAW);
  if (send(truth->fd, packet, sizeof packet, 0) < 0) truth->cookie = 0;
}

static void hear_truth(struct pending *truth) {
  unsigned char reply[128];
  ssize_t size = recv(truth->fd, reply, sizeof reply, MSG_DONTWAIT);
  int64_t raw = read_clock(CLOCK_MONOTONIC_RAW);
  if (size < 48 || (reply[0] & 7) != 4 || reply[1] == 0 || get64(reply + 24) != truth->cookie) return;
  int64_t arrived = from_ntp(get64(reply + 32)), left = from_ntp(get64(reply + 40));
  printf("t %lld %lld %lld\n", (long long)(truth->raw + (raw - truth->raw) / 2), (long long)(arrived + (left - arrived) / 2),
         (long long)(raw - truth->raw - (left - arrived)));
}

static void ask_paraclock(struct pending *agent, const char *path) {
  static const char request[] = "{\"command\":\"report\"}\n";
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  agent->size = 0;
  agent->raw = read_clock(CLOCK_MONOTONIC_RAW);
  agent->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connect(agent->fd, (struct sockaddr *)&address, sizeof address) || write(agent->fd, request, sizeof request - 1) < 0) {
    close(agent->fd);
    agent->fd = -1;
  }
}

// The value after a key, up to what ends it; `-` if it is absent or null.
static void value_of(const char *text, const char *key, char *value, size_t room) {
  strcpy(value, "-");
  const char *at = text ? strstr(text, key) : NULL;
  if (!at) return;
  at += strlen(key);
  size_t size = strcspn(at, ",}\"");
  if (size < room && strncmp(at, "null", 4)) {
    memcpy(value, at, size);
    value[size] = 0;
  }
}

static void hear_paraclock(struct pending *agent) {
  ssize_t size = read(agent->fd, agent->text + agent->size, sizeof agent->text - 1 - agent->size);
  if (size > 0) agent->size += (size_t)size;
  if (size > 0 && agent->text[agent->size - 1] != '\n') return;
  close(agent->fd);
  agent->fd = -1;
  if (size <= 0) return;
  agent->text[agent->size] = 0;
  char status[32], error[32], growth[32];
  value_of(agent->text, "\"status\":\"", status, sizeof status);
  const char *clock = strstr(agent->text, "\"clock\":{");
  value_of(clock, "\"error\":", error, sizeof error);
  value_of(clock, "\"growth_ppm\":", growth, sizeof growth);
  // It holds from the moment of the answer, which lies before now.
  printf("p %lld %s %s %s\n", (long long)read_clock(CLOCK_MONOTONIC_RAW), status, error, growth);
}

static void show_clockbound(const unsigned char *page) {
  int64_t as_of[2], void_after[2], bound;
  uint16_t before, after;
  int32_t status;
  for (int tries = 0; tries < 100; tries++) {
    memcpy(&before, page + 14, 2);
    __sync_synchronize();
    memcpy(as_of, page + 16, 16);
    memcpy(void_after, page + 32, 16);
    memcpy(&bound, page + 48, 8);
    memcpy(&status, page + 68, 4);
    __sync_synchronize();
    memcpy(&after, page + 14, 2);
    if (before == after && !(before & 1)) break;
  }
  int64_t coarse = read_clock(CLOCK_MONOTONIC_COARSE), raw = read_clock(CLOCK_MONOTONIC_RAW);
  // Ages instead of times: the reader has no other use for that clock.
  printf("b %lld %lld %lld %lld %d\n", (long long)raw, (long long)(coarse - as_of[0] * SECOND - as_of[1]),
         (long long)(void_after[0] * SECOND + void_after[1] - coarse), (long long)bound, status);
}

static const unsigned char *open_clockbound(void) {
  int fd = open("/var/run/clockbound/shm0", O_RDONLY);
  if (fd < 0) return NULL;
  void *page = mmap(NULL, 80, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  return page == MAP_FAILED ? NULL : page;
}

static int sample(const char *host, const char *port, double seconds, const char *path, int64_t period) {
  static struct pending truth, agent = {.fd = -1};
  const unsigned char *clockbound = open_clockbound();
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  if (inet_pton(AF_INET, host, &server.sin_addr) != 1) fail(host);
  truth.fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (truth.fd < 0 || connect(truth.fd, (struct sockaddr *)&server, sizeof server)) fail("connect");
  int64_t end = read_clock(CLOCK_MONOTONIC_RAW) + (int64_t)(seconds * 1e9), due = 0, asked = 0;
  for (int64_t now; (now = read_clock(CLOCK_MONOTONIC_RAW)) < end;) {
    if (now >= due) {
      due = now + period;
      struct timex t = {0};
      int state = adjtimex(&t);
      int64_t before, real, after;
      int tries = 0;
      do {
        before = read_clock(CLOCK_MONOTONIC_RAW);
        real = read_clock(CLOCK_REALTIME);
        after = read_clock(CLOCK_MONOTONIC_RAW);
      } while (after - before > 20000 && ++tries < 5);
      if (after - before < MILLISECOND / 10)
        printf("c %lld %lld %d %ld\n", (long long)(before + (after - before) / 2), (long long)real,
               state == TIME_ERROR || (t.status & STA_UNSYNC) ? 1 : 0, t.maxerror);
      if (clockbound) show_clockbound(clockbound);
    }
    if (now >= asked + 10 * period) {
      asked = now;
      ask_truth(&truth);
      if (agent.fd < 0) ask_paraclock(&agent, path);
    }
    struct pollfd ready[2] = {{.fd = truth.fd, .events = POLLIN}, {.fd = agent.fd, .events = POLLIN}};
    int64_t left = due - read_clock(CLOCK_MONOTONIC_RAW);
    struct timespec wait = to_timespec(left > 0 ? left : 0);
    if (ppoll(ready, 2, &wait, NULL) > 0) {
      if (ready[0].revents) hear_truth(&truth);
      if (ready[1].revents) hear_paraclock(&agent);
    }
  }
  return 0;
}

int main(int argc, char **argv) {
  const char *command = argc > 1 ? argv[1] : "";
  if (argc == 5 && !strcmp(command, "offset")) return offset(argv[2], argv[3], atoi(argv[4]));
  if (argc == 3 && !strcmp(command, "ptp")) return ptp(argv[2]);
  if (argc == 2 && !strcmp(command, "adjtimex")) return show_adjtimex();
  if (argc == 3 && !strcmp(command, "step")) return step(atof(argv[2]));
  if (argc == 3 && !strcmp(command, "frequency")) return frequency(atof(argv[2]));
  if (argc == 4 && !strcmp(command, "setphc")) return setphc(argv[2], atof(argv[3]));
  if (argc == 2 && !strcmp(command, "tsc")) return tsc();
  if (argc == 3 && !strcmp(command, "control")) return control(argv[2]);
  if (argc == 7 && !strcmp(command, "sample"))
    return sample(argv[2], argv[3], atof(argv[4]), argv[5], (int64_t)(atof(argv[6]) * 1e6));
  fprintf(stderr, "usage: probe offset HOST PORT COUNT | ptp DEVICE | adjtimex | step SECONDS | frequency PPM"
                  " | setphc DEVICE SECONDS | tsc | control SOCKET | sample HOST PORT SECONDS SOCKET PERIOD\n");
  return 2;
}
