// SPDX-License-Identifier: Apache-2.0
// A library with the functions of NVIDIA's that the agent calls, for machines that a file describes: STATE in FOLDER, which is read again
// whenever it is replaced. OLD leaves out what the driver of 2019 did not have. It computes nothing.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/inotify.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

typedef int code;
typedef void *handle;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { SUCCESS = 0, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, TIMEOUT = 10, LOST = 15 };
enum { MOST = 16, PARTS = 8, PROCESSES = 32 };

typedef struct { u32 pid; int graphics; } process;
typedef struct {
  char uuid[96], name[96], bus[32], cluster[33];
  u64 memory, used, errors;
  int major, minor, links, clique, generation, width, usage, limit, usual, temperature, busy, clock, ecc, mig, lost, rows, failed;
  process processes[PROCESSES];
  int process_count;
} gpu;
typedef struct { char driver[80]; int count, parts[MOST], begin, broken; gpu gpus[MOST], pieces[MOST][PARTS]; int events, event_gpu[64], event_xid[64]; } machine;

static machine state;
static struct timespec read_at;
static ino_t read_inode;
static int delivered;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// value copies what stands behind "key=" in a line of fields that tabs part, and says whether it is there.
static int value(const char *line, const char *key, char *to, size_t size) {
  size_t length = strlen(key);
  for (const char *at = strchr(line, '\t'); at; at = strchr(at + 1, '\t'))
    if (!strncmp(at + 1, key, length) && at[1 + length] == '=') {
      size_t n = strcspn(at + 2 + length, "\t\n");
      if (n >= size) n = size - 1;
      memcpy(to, at + 2 + length, n);
      to[n] = 0;
      return 1;
    }
  return 0;
}
static long number(const char *line, const char *key) {
  char text[32];
  return value(line, key, text, sizeof text) ? atol(text) : -1;
}
static void describe(const char *line, gpu *g) {
  memset(g, 0, sizeof *g);
  value(line, "uuid", g->uuid, sizeof g->uuid);
  value(line, "name", g->name, sizeof g->name);
  value(line, "bus", g->bus, sizeof g->bus);
  value(line, "cluster", g->cluster, sizeof g->cluster);
  char capability[16] = "";
  value(line, "cc", capability, sizeof capability);
  g->major = -1;
  sscanf(capability, "%d.%d", &g->major, &g->minor);
  g->memory = (u64)number(line, "memory") << 20;
  g->used = (u64)number(line, "used") << 20;
  g->errors = (u64)number(line, "errors");
  g->links = (int)number(line, "links"), g->clique = (int)number(line, "clique");
  g->generation = (int)number(line, "generation"), g->width = (int)number(line, "width");
  g->usage = (int)number(line, "usage"), g->limit = (int)number(line, "limit"), g->usual = (int)number(line, "default");
  g->temperature = (int)number(line, "temperature"), g->busy = (int)number(line, "busy"), g->clock = (int)number(line, "clock");
  g->ecc = (int)number(line, "ecc"), g->mig = (int)number(line, "mig"), g->lost = (int)number(line, "lost");
  g->rows = (int)number(line, "pending"), g->failed = (int)number(line, "failed");
}

// look reads the machine again if its file was replaced. The caller holds the lock.
static void look(void) {
  struct stat now;
  if (stat(STATE, &now)) return;
  if (now.st_ino == read_inode && !memcmp(&now.st_mtim, &read_at, sizeof read_at)) return;
  FILE *file = fopen(STATE, "r");
  if (!file) return;
  memset(&state, 0, sizeof state);
  char line[2048];
  gpu *last = 0;
  while (fgets(line, sizeof line, file)) {
    if (!strncmp(line, "driver\t", 7)) {
      value(line, "version", state.driver, sizeof state.driver);
      if ((state.begin = (int)number(line, "begin")) < 0) state.begin = 0;
      if ((state.broken = (int)number(line, "broken")) < 0) state.broken = 0;
    } else if (!strncmp(line, "gpu\t", 4) && state.count < MOST) {
      describe(line, last = &state.gpus[state.count++]);
    } else if (!strncmp(line, "partition\t", 10) && state.count && state.parts[state.count - 1] < PARTS) {
      describe(line, last = &state.pieces[state.count - 1][state.parts[state.count - 1]++]);
    } else if (!strncmp(line, "process\t", 8) && last && last->process_count < PROCESSES) {
      last->processes[last->process_count++] = (process){(u32)number(line, "pid"), number(line, "graphics") > 0};
    } else if (!strncmp(line, "event\t", 6) && state.events < 64) {
      state.event_gpu[state.events] = (int)number(line, "gpu");
      state.event_xid[state.events++] = (int)number(line, "xid");
    }
  }
  fclose(file);
  read_at = now.st_mtim, read_inode = now.st_ino;
}

// A handle is the number of the GPU, and of the partition from one on.
static handle handle_of(u32 index, u32 part) { return (handle)(size_t)(0x10000 + index * 0x100 + part); }
static u32 index_of(handle h) { return ((u32)(size_t)h - 0x10000) / 0x100; }
static gpu *find(handle h) {
  look();
  u32 index = index_of(h), part = ((u32)(size_t)h - 0x10000) % 0x100;
  if ((int)index >= state.count) return 0;
  if (state.gpus[index].lost > 0) return 0;
  if (!part) return &state.gpus[index];
  return (int)part <= state.parts[index] ? &state.pieces[index][part - 1] : 0;
}
#define ENTER pthread_mutex_lock(&lock); gpu *g = find(h); code result = g ? SUCCESS : LOST; if (g)
#define LEAVE pthread_mutex_unlock(&lock); return result
#define READ(name, type, have, got) code name(handle h, type *to) { ENTER { if (!(have)) result = UNSUPPORTED; else *to = (type)(got); } LEAVE; }

code nvmlInit_v2(void) { pthread_mutex_lock(&lock); look(); code result = state.begin; pthread_mutex_unlock(&lock); return result; }
code nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(code c) { static char text[32]; snprintf(text, sizeof text, "error %d", c); return text; }
code nvmlSystemGetDriverVersion(char *to, u32 size) {
  pthread_mutex_lock(&lock); look();
  snprintf(to, size, "%s", state.driver);
  code result = state.broken;
  pthread_mutex_unlock(&lock);
  return result;
}
code nvmlDeviceGetCount_v2(u32 *to) { pthread_mutex_lock(&lock); look(); *to = (u32)state.count; pthread_mutex_unlock(&lock); return SUCCESS; }
code nvmlDeviceGetHandleByIndex_v2(u32 index, handle *to) {
  pthread_mutex_lock(&lock); look();
  code result = (int)index < state.count ? (state.gpus[index].lost > 0 ? LOST : SUCCESS) : INVALID;
  *to = handle_of(index, 0);
  pthread_mutex_unlock(&lock);
  return result;
}
code nvmlDeviceGetUUID(handle h, char *to, u32 size) { ENTER snprintf(to, size, "%s", g->uuid); LEAVE; }
code nvmlDeviceGetName(handle h, char *to, u32 size) { ENTER snprintf(to, size, "%s", g->name); LEAVE; }
typedef struct { u64 total, free, used; } memory_info;
code nvmlDeviceGetMemoryInfo(handle h, memory_info *to) { ENTER *to = (memory_info){g->memory, g->memory - g->used, g->used}; LEAVE; }
typedef struct { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; } pci_info;
code nvmlDeviceGetPciInfo_v3(handle h, pci_info *to) {
  memset(to, 0, sizeof *to);
  ENTER { if (!*g->bus) result = UNSUPPORTED; else snprintf(to->bus_id, sizeof to->bus_id, "%s", g->bus); } LEAVE;
}
READ(nvmlDeviceGetMaxPcieLinkGeneration, u32, g->generation >= 0, g->generation)
READ(nvmlDeviceGetMaxPcieLinkWidth, u32, g->width >= 0, g->width)
READ(nvmlDeviceGetPowerUsage, u32, g->usage >= 0, g->usage)
READ(nvmlDeviceGetEnforcedPowerLimit, u32, g->limit >= 0, g->limit)
READ(nvmlDeviceGetPowerManagementDefaultLimit, u32, g->usual >= 0, g->usual)
code nvmlDeviceGetCudaComputeCapability(handle h, int *major, int *minor) {
  ENTER { if (g->major < 0) result = UNSUPPORTED; else *major = g->major, *minor = g->minor; } LEAVE;
}
code nvmlDeviceGetTemperature(handle h, int sensor, u32 *to) { ENTER { if (sensor || g->temperature < 0) result = UNSUPPORTED; else *to = (u32)g->temperature; } LEAVE; }
code nvmlDeviceGetClockInfo(handle h, int which, u32 *to) { ENTER { if (which != 1 || g->clock < 0) result = UNSUPPORTED; else *to = (u32)g->clock; } LEAVE; }
typedef struct { u32 gpu, memory; } rates;
code nvmlDeviceGetUtilizationRates(handle h, rates *to) { ENTER { if (g->busy < 0) result = UNSUPPORTED; else to->gpu = (u32)g->busy; } LEAVE; }
code nvmlDeviceGetNvLinkState(handle h, u32 link, u32 *to) {
  ENTER { if (g->links < 0) result = UNSUPPORTED; else if ((int)link >= g->links) result = INVALID; else *to = 1; } LEAVE;
}
code nvmlDeviceGetTotalEccErrors(handle h, int kind, int counter, u64 *to) {
  ENTER { if (g->ecc < 0) result = UNSUPPORTED; else *to = kind == 1 && counter == 0 && (long long)g->errors > 0 ? g->errors : 0; } LEAVE;
}

typedef struct { u32 pid; u64 memory; } process_v1;
typedef struct { u32 pid; u64 memory; u32 instance, within; } process_v2;
static int listed(gpu *g, int graphics, u32 *to) {
  int n = 0;
  for (int i = 0; i < g->process_count; i++)
    if (g->processes[i].graphics == graphics) to[n++] = g->processes[i].pid;
  return n;
}
#define LIST(name, type, graphics) code name(handle h, u32 *n, type *to) { \
  ENTER { u32 pids[PROCESSES]; u32 found = (u32)listed(g, graphics, pids); \
    if (found > *n) result = TOO_SMALL; else for (u32 i = 0; i < found; i++) memset(&to[i], 0, sizeof to[i]), to[i].pid = pids[i]; \
    *n = found; } LEAVE; }
#ifdef OLD
LIST(nvmlDeviceGetComputeRunningProcesses, process_v1, 0)
LIST(nvmlDeviceGetGraphicsRunningProcesses, process_v1, 1)
#else
LIST(nvmlDeviceGetComputeRunningProcesses_v3, process_v2, 0)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, process_v2, 1)

typedef struct { u32 version; unsigned char cluster[16]; u32 status, clique; unsigned char state; u32 health; } fabric_info;
code nvmlDeviceGetGpuFabricInfoV(handle h, fabric_info *to) {
  ENTER {
    if (to->version != (sizeof *to | 2 << 24)) result = INVALID;
    else if (!*g->cluster) to->state = 0;
    else {
      for (int i = 0; i < 16; i++) { u32 byte; sscanf(g->cluster + 2 * i, "%2x", &byte); to->cluster[i] = (unsigned char)byte; }
      to->clique = (u32)g->clique, to->state = 3, to->status = SUCCESS;
    }
  } LEAVE;
}
code nvmlDeviceGetRemappedRows(handle h, u32 *corrected, u32 *uncorrected, u32 *pending, u32 *failed) {
  ENTER { if (g->rows < 0) result = UNSUPPORTED; else *corrected = *uncorrected = 0, *pending = (u32)g->rows, *failed = g->failed > 0; } LEAVE;
}
code nvmlDeviceGetMigMode(handle h, u32 *current, u32 *pending) { ENTER { if (g->mig < 0) result = UNSUPPORTED; else *current = *pending = (u32)g->mig; } LEAVE; }
READ(nvmlDeviceGetMaxMigDeviceCount, u32, g->mig >= 0, PARTS)
code nvmlDeviceGetMigDeviceHandleByIndex(handle h, u32 part, handle *to) {
  ENTER { if ((int)part >= state.parts[index_of(h)]) result = NOT_FOUND; else *to = handle_of(index_of(h), part + 1); } LEAVE;
}
#endif

typedef struct { handle of; u64 kind, data; u32 instance, within; } event_data;
code nvmlEventSetCreate(handle *to) { *to = (handle)0x5e7; return SUCCESS; }
code nvmlEventSetFree(handle set) { (void)set; return SUCCESS; }
code nvmlDeviceGetSupportedEventTypes(handle h, u64 *to) { ENTER *to = 0xff; LEAVE; }
code nvmlDeviceRegisterEvents(handle h, u64 kinds, handle set) {
  (void)kinds, (void)set;
  ENTER delivered = state.events; // what happened before nobody listened is not told
  LEAVE;
}
// next_event takes the next event that nobody was told of.
static int next_event(event_data *to) {
  pthread_mutex_lock(&lock); look();
  int new = delivered < state.events;
  if (new) {
    memset(to, 0, sizeof *to);
    to->of = handle_of((u32)state.event_gpu[delivered], 0), to->kind = 8, to->data = (u64)state.event_xid[delivered];
    to->instance = to->within = 0xffffffff;
    delivered++;
  }
  pthread_mutex_unlock(&lock);
  return new;
}
// wait_for sleeps until the file is replaced or the time is over, as the driver does: it takes nothing of the processor.
static code wait_for(event_data *to, u32 milliseconds) {
  struct pollfd changed = {.fd = inotify_init1(IN_CLOEXEC), .events = POLLIN};
  inotify_add_watch(changed.fd, FOLDER, IN_MOVED_TO);
  code result = SUCCESS;
  if (!next_event(to)) {
    poll(&changed, 1, (int)milliseconds);
    result = next_event(to) ? SUCCESS : TIMEOUT;
  }
  close(changed.fd);
  return result;
}
#ifdef OLD
code nvmlEventSetWait(handle set, event_data *to, u32 milliseconds) { (void)set; return wait_for(to, milliseconds); }
#else
code nvmlEventSetWait_v2(handle set, event_data *to, u32 milliseconds) { (void)set; return wait_for(to, milliseconds); }
#endif
