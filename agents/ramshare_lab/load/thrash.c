/*
 * thrash: the paper's microbenchmark, with a proof in every page.
 *
 * Why C: the lab's borrower is an emulated machine, in which a Python loop would measure Python. Why static: the same file
 * runs on the host, in a virtual machine and in User-Mode Linux. Driven by ramshare_lab.load.thrash; usable by hand:
 *
 *     printf 'init\nrun random_read 5 4096\ncheck\nquit\n' | thrash --size 67108864
 *
 * An array of --size bytes is mapped without huge pages and never locked; everything else this program needs is locked, so that
 * only the array is swapped. Commands come as lines on stdin; each is answered by one JSON line on stdout, and those that
 * take long also by a {"event":"progress"} line every 500 ms, which a second thread writes even while the first hangs in I/O:
 *
 *     init                                   write every page once
 *     run PATTERN SECONDS BLOCK [BYTES]      {sequential,random}_{read,write}; ends after SECONDS (0: no limit) or BYTES
 *     storm [WRITE_PERCENT]                  random page reads and writes until the next line comes
 *     check                                  verify every page
 *     page_out                               have every page that is in memory written to swap, as pressure would
 *     corrupt PAGE [KIND]                    damage a page on purpose: flip, lost, stale, mixed or sigbus (for tests)
 *     quit
 *
 * What a page carries: its number, its generation (how often it was written) and a checksum. The expected generation is
 * also kept in a locked table, so an old version of a page is found although it is sound in itself. A page found bad is
 * counted once per command (bad_pages) and once in all (bad_pages_total).
 * Reads of whole pages verify everything. Sequential reads of smaller blocks do so at each page's end. Random reads of
 * smaller blocks verify number and generation only; so do writes, before they overwrite. `storm` and `check` verify everything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define PAGE_WORDS (PAGE / 8)
#define LINE 64UL          /* smallest block, and what every block is a multiple of */
#define SECTOR_WORDS 64UL  /* the checksum weighs each 512-byte sector differently, so exchanged sectors show */
#define HEADER_WORDS 3UL
#define TOTAL 0x72616d7368617265ULL /* what the weighted sum of a sound page's words is; an empty page's is 0 */
#define WEYL 0x9e3779b97f4a7c15ULL  /* golden ratio: pages differ in every word and do not compress */
#define TICK_NS 500000000LL
#define PAGES_OUT 256UL /* paged out at a time */
#define MARK_EVER 1 /* this page was found bad since init */
#define MARK_NOW 2  /* ... and by the command that runs now */

enum { NUMBER, GENERATION, CHECKSUM }; /* the header's words */
enum kind { SOUND, LOST, MIXED, STALE, TORN, BUS, KINDS };
static const char *const kind_names[KINDS] = {"sound", "lost", "mixed", "stale", "torn", "sigbus"};

static uint64_t *array;
static uint64_t pages;
static uint32_t *generations; /* locked: what each page's generation must be */
static uint8_t *marks;        /* locked: MARK_* of each page */
static uint64_t kinds_total[KINDS];
static uint64_t bad_total;
static uint64_t sequential_page, sequential_offset; /* where the next sequential run goes on: a fresh start would hit RAM */
static uint64_t random_state = 88172645463325252ULL;
static int initialised;
static volatile uint64_t sink; /* keeps the compiler from dropping reads */
static __thread sigjmp_buf bus_jump;
static int finished; /* eventfd: the worker has ended */
static char worker_stack[256 * 1024] __attribute__((aligned(4096)));

/* What a command is doing; written by the worker, read by the reporter. Relaxed atomics: figures, not synchronisation. */
static struct {
    _Atomic uint64_t operations, bytes, bad, sigbus;
    _Atomic int64_t last_ns, gap_ns, interval_gap_ns;
    _Atomic int stop, done;
    int64_t start_ns, end_ns;
    long major_faults;
} now;

static struct {
    enum { INIT, RUN, STORM, CHECK, PAGE_OUT } what;
    const char *name;
    int random, write, verify_all;
    unsigned write_percent;
    uint64_t block, limit_bytes;
    int64_t limit_ns;
} job;

#define GET(x) atomic_load_explicit(&now.x, memory_order_relaxed)
#define SET(x, v) atomic_store_explicit(&now.x, (v), memory_order_relaxed)
#define ADD(x, v) SET(x, GET(x) + (v)) /* one writer only, so no locked instruction is needed */

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static uint64_t random_u64(void) { /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717ULL;
}

static uint64_t random_below(uint64_t n) { return (uint64_t)(((unsigned __int128)random_u64() * n) >> 64); }

/* ---- pages ------------------------------------------------------------------------------------------------------- */

static uint64_t weight(uint64_t word) { return 2 * (word / SECTOR_WORDS) + 1; }

/* Weighted sum of the words [from, to) of a page: linear, so it can be kept up to date for a part of a page. */
static uint64_t sum_words(const uint64_t *page, uint64_t from, uint64_t to) {
    uint64_t total = 0;
    while (from < to) {
        uint64_t end = (from / SECTOR_WORDS + 1) * SECTOR_WORDS, part = 0;
        if (end > to) end = to;
        for (uint64_t i = from; i < end; i++) part += page[i];
        total += part * weight(from);
        from = end;
    }
    return total;
}

static uint64_t seed_of(uint64_t number, uint64_t generation) {
    uint64_t z = (number << 24 ^ generation) + WEYL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    return z ^ (z >> 31);
}

static void fill_words(uint64_t *page, uint64_t seed, uint64_t from, uint64_t to) {
    for (uint64_t i = from < HEADER_WORDS ? HEADER_WORDS : from; i < to; i++) page[i] = seed + i * WEYL;
}

static enum kind identity(const uint64_t *page, uint64_t number) {
    if (page[NUMBER] != number + 1) return page[NUMBER] == 0 ? LOST : MIXED; /* numbers from 1: an empty page is no page */
    return page[GENERATION] == generations[number] ? SOUND : STALE;
}

static enum kind verify(const uint64_t *page, uint64_t number) {
    enum kind kind = identity(page, number);
    if (sum_words(page, 0, PAGE_WORDS) != TOTAL && kind == SOUND) return TORN;
    return kind;
}

static void set_header(uint64_t *page, uint64_t number, uint64_t rest) {
    uint64_t generation = ++generations[number];
    page[NUMBER] = number + 1;
    page[GENERATION] = generation;
    page[CHECKSUM] = TOTAL - rest - (number + 1) - generation; /* the header lies in the sector of weight 1 */
}

static void write_page(uint64_t *page, uint64_t number) {
    fill_words(page, seed_of(number, generations[number] + 1), 0, PAGE_WORDS);
    set_header(page, number, sum_words(page, HEADER_WORDS, PAGE_WORDS));
}

/* Overwrite a part of a page. A checksum that was wrong before stays wrong: only the change goes into it. */
static void write_part(uint64_t *page, uint64_t number, uint64_t from, uint64_t to) {
    uint64_t first = from < HEADER_WORDS ? HEADER_WORDS : from;
    uint64_t rest = TOTAL - page[NUMBER] - page[GENERATION] - page[CHECKSUM] - sum_words(page, first, to);
    fill_words(page, seed_of(number, generations[number] + 1), first, to);
    set_header(page, number, rest + sum_words(page, first, to));
}

static void count_bad(uint64_t number, enum kind kind) {
    if (kind == SOUND) return;
    if (!(marks[number] & MARK_NOW)) ADD(bad, 1);
    if (!(marks[number] & MARK_EVER)) bad_total++, kinds_total[kind]++;
    marks[number] |= MARK_NOW | MARK_EVER;
}

static void on_sigbus(int signal) {
    (void)signal;
    siglongjmp(bus_jump, 1);
}

/* Touch the bytes [offset, offset + length) of one page; `carried` is the running sum of a page that is read in parts. */
static void touch(uint64_t number, uint64_t offset, uint64_t length, int write, uint64_t *carried) {
    uint64_t *page = array + number * PAGE_WORDS, from = offset / 8, to = (offset + length) / 8;
    if (sigsetjmp(bus_jump, 0)) { /* a swap read error; the handler does not block the signal, so no mask to restore */
        ADD(sigbus, 1);
        count_bad(number, BUS);
        return;
    }
    if (length == PAGE) {
        if (job.what != INIT) count_bad(number, write && !job.verify_all ? identity(page, number) : verify(page, number));
        if (write) write_page(page, number);
        return;
    }
    enum kind kind = identity(page, number);
    if (write) {
        write_part(page, number, from, to);
    } else {
        uint64_t sum = sum_words(page, from, to);
        sink = sum;
        if (carried) {
            *carried = offset == 0 ? sum : *carried + sum;
            if (offset + length == PAGE && *carried != TOTAL && kind == SOUND) kind = TORN;
        }
    }
    count_bad(number, kind);
}

/* ---- commands, in the worker thread ------------------------------------------------------------------------------- */

/* Note that something was finished; returns 1 when the command's time is over or it was told to stop. */
static int tick(void) {
    int64_t at = clock_ns(), gap = at - GET(last_ns);
    SET(last_ns, at);
    if (gap > GET(gap_ns)) SET(gap_ns, gap);
    if (gap > GET(interval_gap_ns)) SET(interval_gap_ns, gap);
    return GET(stop) || (job.limit_ns && at - now.start_ns >= job.limit_ns);
}

/* One operation of job.block bytes from (page, offset) on. Returns 1 when the command is over. */
static int operate(uint64_t page, uint64_t offset, int write, uint64_t *carried) {
    uint64_t left = job.block;
    while (left) {
        uint64_t length = PAGE - offset < left ? PAGE - offset : left;
        touch(page, offset, length, write, carried);
        ADD(bytes, length);
        left -= length;
        offset += length;
        if (left == 0) ADD(operations, 1);
        if (offset == PAGE) {
            offset = 0;
            page = page + 1 == pages ? 0 : page + 1;
        }
        /* the clock is read once per page when going through small blocks in order, else the clock would be measured */
        int last = (job.limit_bytes && GET(bytes) >= job.limit_bytes) || GET(stop);
        int over = (!carried || offset == 0 || last) && tick();
        if (carried) sequential_page = page, sequential_offset = offset;
        if (last || over) return 1;
    }
    return 0;
}

static void work_sequential(void) {
    uint64_t carried = 0;
    if (!job.write) sequential_offset = 0; /* a page must be read from its beginning to verify its checksum */
    while (!operate(sequential_page, sequential_offset, job.write, &carried)) {}
}

static void work_random(void) {
    uint64_t blocks = pages * PAGE / job.block;
    for (;;) {
        uint64_t at = random_below(blocks) * job.block;
        int write = job.what == STORM ? random_below(100) < job.write_percent : job.write;
        if (operate(at / PAGE, at % PAGE, write, NULL)) return;
    }
}

static void work_all(void) {
    for (uint64_t i = 0; i < pages; i++) {
        touch(i, 0, PAGE, job.what == INIT, NULL);
        ADD(bytes, PAGE);
        ADD(operations, 1);
        if (tick()) return;
    }
}

static void work_out(void) {
    for (uint64_t i = 0; i < pages; i += PAGES_OUT) {
        uint64_t length = (pages - i < PAGES_OUT ? pages - i : PAGES_OUT) * PAGE;
        madvise(array + i * PAGE_WORDS, length, MADV_PAGEOUT);
        ADD(bytes, length);
        ADD(operations, 1);
        if (tick()) return;
    }
}

static void *worker(void *unused) {
    struct rusage before, after;
    (void)unused;
    getrusage(RUSAGE_THREAD, &before);
    if (job.what == INIT || job.what == CHECK) work_all();
    else if (job.what == PAGE_OUT) work_out();
    else if (job.random) work_random();
    else work_sequential();
    now.end_ns = clock_ns();
    getrusage(RUSAGE_THREAD, &after);
    now.major_faults = after.ru_majflt - before.ru_majflt;
    atomic_store(&now.done, 1);
    if (write(finished, &(uint64_t){1}, sizeof(uint64_t)) < 0) abort(); /* an eventfd takes it, or all is lost */
    return NULL;
}

/* ---- answers, in the main thread ---------------------------------------------------------------------------------- */

static void error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("{\"event\":\"error\",\"message\":\"");
    vprintf(format, args);
    printf("\"}\n");
    va_end(args);
}

static void report(int final) {
    int64_t at = final ? now.end_ns : clock_ns(), open_gap = at - GET(last_ns); /* the operation that hangs right now counts */
    int64_t gap = GET(gap_ns), interval = atomic_exchange(&now.interval_gap_ns, 0);
    double seconds = (double)(at - now.start_ns) / 1e9;
    if (open_gap > gap) gap = open_gap;
    if (open_gap > interval) interval = open_gap;
    printf("{\"event\":\"%s\",\"command\":\"%s\"", final ? "result" : "progress", job.name);
    printf(",\"operations\":%llu,\"bytes\":%llu", (unsigned long long)GET(operations), (unsigned long long)GET(bytes));
    printf(",\"seconds\":%.6f,\"mb_s\":%.4f", seconds, seconds > 0 ? (double)GET(bytes) / 1e6 / seconds : 0.0);
    printf(",\"bad_pages\":%llu,\"bad_pages_total\":%llu", (unsigned long long)GET(bad), (unsigned long long)bad_total);
    printf(",\"sigbus\":%llu,\"stall_s\":%.6f", (unsigned long long)GET(sigbus), (double)gap / 1e9);
    if (!final) printf(",\"interval_stall_s\":%.6f", (double)interval / 1e9);
    if (final) {
        printf(",\"block_bytes\":%llu,\"major_faults\":%ld,\"kinds\":{", (unsigned long long)job.block, now.major_faults);
        for (int k = LOST; k < KINDS; k++)
            printf("%s\"%s\":%llu", k == LOST ? "" : ",", kind_names[k], (unsigned long long)kinds_total[k]);
        printf("}");
    }
    printf("}\n");
}

/* Sleep until `until_ns`, the worker's end or, in a storm, the next line on stdin, which is the order to stop. */
static void rest(int64_t until_ns) {
    struct pollfd watch[2] = {{.fd = finished, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    int64_t left = until_ns - clock_ns();
    if (left > 0 && poll(watch, job.what == STORM && !GET(stop) ? 2 : 1, (int)(left / 1000000) + 1) > 0 && watch[1].revents)
        SET(stop, 1);
}

static void perform(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    uint64_t count;
    for (uint64_t i = 0; i < pages; i++) marks[i] &= (uint8_t)~MARK_NOW;
    memset(&now, 0, sizeof now);
    now.start_ns = clock_ns();
    SET(last_ns, now.start_ns);
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, worker_stack, sizeof worker_stack);
    if (pthread_create(&thread, &attributes, worker, NULL)) {
        error("cannot start the worker thread: %s", strerror(errno));
        return;
    }
    for (int64_t next = now.start_ns + TICK_NS; !atomic_load(&now.done);) {
        rest(next);
        if (clock_ns() < next || atomic_load(&now.done)) continue;
        report(0);
        next += TICK_NS;
    }
    pthread_join(thread, NULL);
    if (read(finished, &count, sizeof count) < 0) error("cannot read the eventfd: %s", strerror(errno));
    report(1);
}

/* Map the array, afresh (with MAP_FIXED: in its place, which drops what was there). Returns 0 if there is no room. */
static int map_array(int flags) {
    int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    array = mmap(array, pages * PAGE, PROT_READ | PROT_WRITE, kind | flags, -1, 0);
    return array != MAP_FAILED && (madvise(array, pages * PAGE, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
}

static int corrupt(uint64_t number, const char *kind) {
    static uint64_t old[PAGE_WORDS];
    uint64_t *page = array + number * PAGE_WORDS;
    if (!strcmp(kind, "flip")) page[PAGE_WORDS - 1] ^= 1;
    else if (!strcmp(kind, "lost")) memset(page, 0, PAGE);
    else if (!strcmp(kind, "mixed")) memcpy(page, array + (number + 1) % pages * PAGE_WORDS, PAGE);
    else if (!strcmp(kind, "stale")) {
        memcpy(old, page, PAGE);
        write_page(page, number);
        memcpy(page, old, PAGE);
    } else if (!strcmp(kind, "sigbus")) { /* a mapping beyond its file's end: touching it is what a swap read error is like */
        int fd = memfd_create("nothing", 0);
        if (fd < 0 || mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) return 0;
    } else return 0;
    return 1;
}

static const char *prepare_run(char *pattern, char *seconds, char *block, char *bytes) {
    static const char *const names[] = {"sequential_read", "sequential_write", "random_read", "random_write"};
    for (int i = 0; pattern && i < 4; i++)
        if (!strcmp(pattern, names[i])) job.name = names[i], job.random = i / 2, job.write = i % 2;
    if (!job.name) return "the pattern is one of sequential_read, sequential_write, random_read, random_write";
    if (!seconds || !block) return "usage: run PATTERN SECONDS BLOCK [BYTES]";
    job.limit_ns = (int64_t)(strtod(seconds, NULL) * 1e9);
    job.block = strtoull(block, NULL, 10);
    job.limit_bytes = bytes ? strtoull(bytes, NULL, 10) : 0;
    if (job.block < LINE || job.block % LINE || job.block > pages * PAGE)
        return "the block must be a multiple of 64 bytes and fit into the array";
    if (job.limit_ns <= 0 && !job.limit_bytes) return "a run needs seconds or bytes above zero to end at";
    return NULL;
}

/* Obey one line; returns 0 at `quit`. */
static int obey(char *line) {
    char *word[5] = {0};
    int n = 0;
    for (char *at = strtok(line, " \t\r\n"); at && n < 5; at = strtok(NULL, " \t\r\n")) word[n++] = at;
    memset(&job, 0, sizeof job);
    job.block = PAGE;
    if (n == 0 || !strcmp(word[0], "stop")) return 1; /* an empty line or `stop` only ends a storm */
    if (!strcmp(word[0], "quit")) return 0;
    if (!strcmp(word[0], "init")) {
        if (!map_array(MAP_FIXED)) {
            error("cannot map the array again: %s", strerror(errno));
            return 0;
        }
        memset(marks, 0, pages);
        memset(kinds_total, 0, sizeof kinds_total);
        bad_total = sequential_page = sequential_offset = 0;
        job.what = INIT, job.name = "init", initialised = 1;
        perform();
    } else if (!initialised) error("%s", "the first command must be init");
    else if (!strcmp(word[0], "run")) {
        const char *problem = prepare_run(word[1], word[2], word[3], word[4]);
        job.what = RUN;
        if (problem) error("%s", problem);
        else perform();
    } else if (!strcmp(word[0], "storm")) {
        job.what = STORM, job.name = "storm", job.random = 1, job.verify_all = 1;
        job.write_percent = word[1] ? (unsigned)atoi(word[1]) : 50;
        perform();
    } else if (!strcmp(word[0], "check")) {
        job.what = CHECK, job.name = "check";
        perform();
    } else if (!strcmp(word[0], "page_out")) {
        job.what = PAGE_OUT, job.name = "page_out";
        if (madvise(array, 0, MADV_PAGEOUT)) error("this kernel pages nothing out on request: %s", strerror(errno));
        else perform();
    } else if (!strcmp(word[0], "corrupt") && word[1]) {
        uint64_t number = strtoull(word[1], NULL, 10);
        if (number < pages && corrupt(number, word[2] ? word[2] : "flip")) printf("{\"event\":\"corrupted\"}\n");
        else error("%s", "usage: corrupt PAGE [flip|lost|stale|mixed|sigbus]");
    } else error("%s", "unknown command");
    return 1;
}

/* The next line of stdin, read by hand: poll() in a storm must see every line that is not yet handled. */
static int read_line(char *line, size_t room) {
    size_t n = 0;
    char c;
    for (ssize_t got; (got = read(0, &c, 1)) != 0;) {
        if (got < 0 && errno != EINTR) return 0;
        if (got < 0) continue;
        if (c == '\n') break;
        if (n + 1 < room) line[n++] = c;
    }
    line[n] = 0;
    return c == '\n' || n;
}

int main(int argc, char **argv) {
    static char line[256], output[8192];
    struct sigaction action = {.sa_handler = on_sigbus, .sa_flags = SA_NODEFER};
    uint64_t size = argc == 3 && !strcmp(argv[1], "--size") ? strtoull(argv[2], NULL, 10) : 0;
    pages = size / PAGE;
    setvbuf(stdout, output, _IOLBF, sizeof output);
    if (pages == 0) {
        error("usage: thrash --size BYTES (%lu at least)", PAGE);
        return 2;
    }
    generations = calloc(pages, sizeof *generations);
    marks = calloc(pages, 1);
    if (!generations || !marks) {
        error("no memory for the table of generations");
        return 1;
    }
    int locked = mlockall(MCL_CURRENT) == 0; /* everything so far; the array comes after, and stays swappable */
    finished = eventfd(0, 0);
    if (finished < 0 || !map_array(0)) {
        error("cannot map %llu bytes: %s", (unsigned long long)size, strerror(errno));
        return 1;
    }
    sigaction(SIGBUS, &action, NULL);
    printf("{\"event\":\"ready\",\"size_bytes\":%llu,\"locked\":%s}\n", (unsigned long long)(pages * PAGE), locked ? "true" : "false");
    while (read_line(line, sizeof line) && obey(line)) {}
    return 0;
}
