/* The parts of perceptctl that need no service: names, walks, watches, bars and pictures. */

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/ctl-file.h"
#include "daemon/ctl-files.h"
#include "daemon/ctl-machine.h"
#include "daemon/ctl-open.h"
#include "daemon/ctl-progress.h"
#include "daemon/ctl-terminal.h"
#include "daemon/ctl-walk.h"
#include "daemon/ctl-watcher.h"
#include "tests/test.h"

/* ---- names ---- */

static void check_uri(const char *path, const char *expected)
{
    char *uri = file_uri(path), *back = file_path(uri);

    ASSERT_STREQ(uri, expected);
    ASSERT_STREQ(back, path);
    free(uri);
    free(back);
}

static void test_uris(void)
{
    char every[258] = "/", id[FILE_ID_SIZE], other[FILE_ID_SIZE];

    check_uri("/a/b.jpg", "file:///a/b.jpg");
    check_uri("/a b%#?\n.png", "file:///a%20b%25%23%3F%0A.png");
    check_uri("/\xff\xc3\x28", "file:///%FF%C3(");
    check_uri("/Grüße", "file:///Gr%C3%BC%C3%9Fe");
    for (int i = 1; i < 256; i++)
        every[i] = (char)i;
    char *uri = file_uri(every), *back = file_path(uri);
    ASSERT_STREQ(back, every);
    for (const char *p = uri; *p; p++)
        ASSERT(*p > 0x20 && *p < 0x7f);
    file_id(uri, id);
    ASSERT(strncmp(id, FILE_HASHED, strlen(FILE_HASHED)) == 0);
    ASSERT_EQ(strlen(id), strlen(FILE_HASHED) + 64);
    uri[strlen(uri) - 1] ^= 1;
    file_id(uri, other);
    ASSERT(strcmp(id, other) != 0);
    free(uri);
    free(back);
    file_id("file:///a", id);
    ASSERT_STREQ(id, "file:///a");
    static const char *const bad[] = {"",           "/a",          "http://a/b",  "file://host/a",
                                      "file:///%0", "file:///%zz", "file:///%00", "file:///a%"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ASSERT(!file_path(bad[i]));
}

static void check_printable(const char *name, const char *expected)
{
    char *text = file_printable(name);

    ASSERT_STREQ(text, expected);
    free(text);
}

static void test_printable(void)
{
    check_printable("plain Grüße 日本 🙂", "plain Grüße 日本 🙂");
    check_printable("a\nb\tc\033]0;owned\007d\177", "a?b?c?]0;owned?d?");
    check_printable("8 bit: \x9b"
                    "31m \xc2\x9b"
                    "31m",
                    "8 bit: ?31m ?31m");
    check_printable("cut \xc3", "cut ?");
    check_printable("\xe2\x80\xae"
                    "gpj.exe \xe2\x81\xa6 \xd8\x9c",
                    "?gpj.exe ? ?");
    check_printable("", "");
}

static void test_types(void)
{
    ASSERT_STREQ(file_media_type("/a/b.JPG"), "image/jpeg");
    ASSERT_STREQ(file_media_type("x.flac"), "audio/flac");
    ASSERT(!file_media_type("x.txt"));
    ASSERT(!file_media_type("jpg"));
    ASSERT(!file_media_type("x."));
}

/* ---- folders ---- */

static char root[256];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void root_make(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(root, sizeof root, "%s/perceptctl-test-XXXXXX", base ? base : "/tmp");
    ASSERT(mkdtemp(root));
}

static void root_remove(void)
{
    ASSERT_EQ(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static const char *in_root(const char *name)
{
    static char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void folder(const char *name)
{
    ASSERT_EQ(mkdir(in_root(name), 0755), 0);
}

static void file(const char *name, const char *content)
{
    FILE *f = fopen(in_root(name), "w");

    ASSERT(f);
    fputs(content, f);
    fclose(f);
}

typedef struct Seen {
    Files files;
    unsigned folders, failed;
    int stop;
} Seen;

static int saw_folder(void *userdata, const char *path)
{
    Seen *s = userdata;

    (void)path;
    s->folders++;
    return s->stop;
}

static int saw_file(void *userdata, const char *path, const struct stat *st)
{
    Seen *s = userdata;

    return files_add(&s->files, path, st);
}

static void saw_failure(void *userdata, const char *path, int error)
{
    Seen *s = userdata;

    (void)path;
    ASSERT(error > 0);
    s->failed++;
}

static const WalkHandlers walk_handlers = {saw_folder, saw_file, saw_failure};

static void test_walk(void)
{
    char deep[WALK_DEPTH_MAX * 2 + 64] = "deep";
    Seen s = {0};

    root_make();
    file("a.jpg", "x");
    file(".hidden.jpg", "x");
    folder("one");
    file("one/b\n\xff.jpg", "xy");
    folder(".git");
    file(".git/c.jpg", "x");
    folder("private");
    file("private/.nomedia", "");
    file("private/d.jpg", "x");
    ASSERT_EQ(symlink("..", in_root("one/up")), 0);
    ASSERT_EQ(symlink("a.jpg", in_root("link.jpg")), 0);
    ASSERT_EQ(mkfifo(in_root("pipe.jpg"), 0600), 0);
    ASSERT_OK(walk_tree(root, &walk_handlers, &s));
    files_sort(&s.files);
    ASSERT_EQ(s.files.n, 2);
    ASSERT_EQ(s.folders, 2);
    ASSERT_EQ(s.failed, 0);
    ASSERT(files_find(&s.files, in_root("a.jpg")));
    ASSERT_STREQ(files_find(&s.files, in_root("one/b\n\xff.jpg"))->size, "2");
    ASSERT(!files_find(&s.files, in_root("link.jpg")));
    files_deinit(&s.files);

    /* Deeper than the walk goes: what is above is found all the same. */
    folder(deep);
    for (int i = 0; i <= WALK_DEPTH_MAX; i++) {
        strcat(deep, "/x");
        folder(deep);
    }
    s = (Seen){0};
    ASSERT_OK(walk_tree(root, &walk_handlers, &s));
    ASSERT_EQ(s.failed, 1);
    ASSERT_EQ(s.files.n, 2);
    files_deinit(&s.files);

    s = (Seen){.stop = -ECANCELED};
    ASSERT_EQ(walk_tree(root, &walk_handlers, &s), -ECANCELED);
    ASSERT_EQ(walk_tree("/nowhere/at/all", &walk_handlers, &s), -ENOENT);
    root_remove();
}

static void test_files(void)
{
    struct stat st = {.st_size = 7, .st_mtim = {5, 6}};
    Files f = {0};

    ASSERT(!files_find(&f, "/a"));
    files_sort(&f);
    ASSERT_OK(files_add(&f, "/b", &st));
    ASSERT_OK(files_add(&f, "/a", &st));
    ASSERT_OK(files_add(&f, "/b", &st));
    files_sort(&f);
    ASSERT_EQ(f.n, 2);
    ASSERT_STREQ(f.items[0].path, "/a");
    ASSERT_STREQ(files_find(&f, "/b")->mtime, "5.000000006");
    files_deinit(&f);
}

/* ---- watches ---- */

static void read_until_due(Watcher *w)
{
    struct pollfd p = {.fd = watcher_fd(w), .events = POLLIN};

    ASSERT_EQ(poll(&p, 1, 5000), 1);
    ASSERT_OK(watcher_read(w));
}

static void expect(Watcher *w, const char *name, WatcherChange change)
{
    WatcherChange found;
    const char *path;

    ASSERT(watcher_next(w, &path, &found));
    ASSERT_STREQ(path, in_root(name));
    ASSERT_EQ(found, change);
}

static void test_watcher(void)
{
    WatcherChange change;
    const char *path;
    Watcher *w;

    root_make();
    folder("old");
    ASSERT_OK(watcher_new(&w));
    ASSERT_EQ(watcher_due_msec(w), -1);
    ASSERT_OK(watcher_add(w, root));
    ASSERT_OK(watcher_add(w, in_root("old")));
    file("b.jpg", "x");
    file("a.jpg", "x");
    file("a.jpg", "y");
    file(".hidden", "x");
    folder("new");
    ASSERT_EQ(unlink(in_root("b.jpg")), 0);
    read_until_due(w);
    ASSERT(watcher_due_msec(w) > 0 && watcher_due_msec(w) <= WATCHER_QUIET_MSEC);
    expect(w, "a.jpg", CHANGE_FILE);
    expect(w, "b.jpg", CHANGE_FILE);
    expect(w, "new", CHANGE_FOLDER);
    ASSERT(!watcher_next(w, &path, &change));
    ASSERT_EQ(watcher_due_msec(w), -1);

    /* A folder that moves is watched no more, until its new name is. */
    char from[PATH_MAX];
    snprintf(from, sizeof from, "%s/old", root);
    ASSERT_EQ(rename(from, in_root("moved")), 0);
    read_until_due(w);
    file("moved/c.jpg", "x");
    ASSERT_OK(watcher_read(w));
    expect(w, "moved", CHANGE_FOLDER);
    expect(w, "old", CHANGE_FOLDER);
    ASSERT(!watcher_next(w, &path, &change));
    ASSERT_EQ(watcher_add(w, in_root("nowhere")), -ENOENT);
    watcher_free(w);
    root_remove();
}

static void test_overflow(void)
{
    char path[PATH_MAX];
    Watcher *w;

    root_make();
    ASSERT_OK(watcher_new(&w));
    ASSERT_OK(watcher_add(w, root));
    /* Two events each; the kernel keeps max_queued_events, 16,384 unless it was told otherwise. */
    for (int i = 0; i < 2 * WATCHER_CHANGES_MAX; i++) {
        snprintf(path, sizeof path, "%s/%d", root, i);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        ASSERT(fd >= 0);
        close(fd);
        unlink(path);
    }
    ASSERT_OK(watcher_read(w));
    ASSERT(watcher_overflowed(w));
    ASSERT(watcher_due_msec(w) >= 0);
    watcher_clear(w);
    ASSERT(!watcher_overflowed(w));
    ASSERT_EQ(watcher_due_msec(w), -1);
    watcher_free(w);
    root_remove();
}

/* ---- terminals ---- */

static void test_progress(void)
{
    char line[512];

    progress_line(line, sizeof line, 80, 0, 0, 0);
    ASSERT_STREQ(line, "looking: 0 files");
    progress_line(line, sizeof line, 60, 30, 120, 1.5);
    ASSERT_STREQ(line, "[######.....................] 30/120  25%  1.5/s  1:00 left");
    ASSERT(strlen(line) < 60);
    progress_line(line, sizeof line, 20, 5, 10, 0.001);
    ASSERT_STREQ(line, "5/10  50%  0.0/s  1:23:20 left");
    progress_line(line, sizeof line, 500, 10, 10, 0);
    ASSERT_STREQ(line, "[########################################] 10/10 100%");
}

static void check_answer(const char *answer, TerminalPictures expected)
{
    ASSERT_EQ(terminal_answer(answer, strlen(answer)), expected);
}

static void test_answers(void)
{
    check_answer("\033_Gi=31;OK\033\\\033[?62;4c", PICTURES_KITTY);
    check_answer("\033_Gi=31;EINVAL:no\033\\\033[?62c", PICTURES_NONE);
    check_answer("\033[?62;4;22c", PICTURES_SIXEL);
    check_answer("\033[?4c", PICTURES_SIXEL);
    check_answer("\033[?64;14;42c", PICTURES_NONE);
    check_answer("\033[?6c", PICTURES_NONE);
    check_answer("typed ahead\033[?63;1;4c", PICTURES_SIXEL);
    check_answer("\033[?62;44444444444444444444c", PICTURES_NONE);
    check_answer("\033[?", PICTURES_NONE);
    check_answer("", PICTURES_NONE);
}

static char *drawn(TerminalPictures how, const Thumbnail *t)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    ASSERT(f);
    terminal_draw(f, how, t);
    fclose(f);
    return text;
}

static int begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void test_pictures(void)
{
    uint8_t pixels[2 * 7 * 3] = {255, 0, 0, 0, 0, 255}; /* red, blue, and black below */
    const Thumbnail t = {pixels, 2, 7};
    char *text = drawn(PICTURES_SIXEL, &t);

    ASSERT(begins(text, "\033P0;1;0q\"1;1;2;7#0;2;0;0;0"));
    ASSERT(strstr(text, "#180;2;100;0;0"));
    /* Sixels: black below the first row, blue on the right, red on the left; then the last row. */
    ASSERT(strstr(text, "#0}}$#5?@$#180@$-#0@@$-\033\\\n"));
    free(text);

    text = drawn(PICTURES_KITTY, &t);
    ASSERT(begins(text, "\033_Ga=T,q=2,f=24,s=2,v=7,m=0;/wAAAAD/"));
    ASSERT_STREQ(text + strlen(text) - 3, "\033\\\n");
    free(text);

    uint8_t *big = calloc(64 * 64, 3);
    const Thumbnail many = {big, 64, 64};
    text = drawn(PICTURES_KITTY, &many);
    unsigned chunks = 0;
    for (char *p = text; (p = strstr(p, "\033_G")); p++)
        chunks++;
    ASSERT_EQ(chunks, 4); /* of 3,072 bytes each */
    ASSERT(strstr(text, "\033_Gm=0;"));
    free(text);
    free(big);
}

static void test_scale(void)
{
    const uint8_t pixels[] = {0, 0, 0, 100, 100, 100, 10, 20, 30, 30, 40, 50};
    Thumbnail t;

    ASSERT_OK(thumbnail_scale(pixels, 2, 2, 1, 1, &t));
    ASSERT_EQ(t.width * t.height, 1);
    ASSERT_EQ(t.rgb[0], 35);
    ASSERT_EQ(t.rgb[2], 45);
    thumbnail_deinit(&t);
    ASSERT_OK(thumbnail_scale(pixels, 2, 2, 100, 100, &t)); /* never larger */
    ASSERT_EQ(t.width, 2);
    ASSERT_EQ(memcmp(t.rgb, pixels, sizeof pixels), 0);
    thumbnail_deinit(&t);
    ASSERT_OK(thumbnail_scale(pixels, 4, 1, 2, 2, &t)); /* keeps a row */
    ASSERT_EQ(t.height, 1);
    thumbnail_deinit(&t);
    ASSERT_EQ(thumbnail_scale(pixels, 0, 1, 2, 2, &t), -EINVAL);
}

/* ---- programs, and the machine ---- */

static void test_open(void)
{
    char script[PATH_MAX], path[2 * PATH_MAX], found[64] = "";
    FILE *f;

    root_make();
    snprintf(script, sizeof script, "%s", in_root("xdg-open"));
    file("xdg-open", "#!/bin/sh\nprintf '%s %s' \"$1\" \"$XDG_ACTIVATION_TOKEN\" > \"$OUT.new\"\n"
                     "mv \"$OUT.new\" \"$OUT\"\n");
    ASSERT_EQ(chmod(script, 0755), 0);
    snprintf(path, sizeof path, "%s:%s", root, getenv("PATH"));
    setenv("PATH", path, 1);
    setenv("OUT", in_root("out"), 1);
    ASSERT_OK(open_uri("file:///a;b", "token"));
    for (int i = 0; i < 1000 && access(in_root("out"), F_OK) < 0; i++)
        usleep(10000);
    f = fopen(in_root("out"), "r");
    ASSERT(f && fgets(found, sizeof found, f));
    fclose(f);
    ASSERT_STREQ(found, "file:///a;b token");
    ASSERT_EQ(open_program((const char *const[]){"no-such-program-here", NULL}), -ENOENT);
    root_remove();
}

static void test_machine(void)
{
    ProcessMemory m;

    root_make();
    ASSERT_OK(machine_memory("", (uint32_t)getpid(), &m));
    ASSERT(m.resident > 100000 && m.files < m.resident);
    ASSERT_EQ(machine_memory(root, 1, &m), -ENOENT);

    ASSERT(!machine_gpu_advice(root, "cpu avx2"));
    folder("dev");
    folder("proc");
    folder("proc/driver");
    folder("proc/driver/nvidia");
    file("proc/driver/nvidia/version", "x");
    ASSERT(strstr(machine_gpu_advice(root, "cpu avx2"), "nvidia-modprobe"));
    file("dev/nvidiactl", "");
    file("dev/nvidia-uvm", "");
    ASSERT(strstr(machine_gpu_advice(root, "cpu avx2"), "processor"));
    ASSERT(!machine_gpu_advice(root, "cuda"));
    root_remove();
}

int main(void)
{
    test_uris();
    test_printable();
    test_types();
    test_files();
    test_walk();
    test_watcher();
    test_overflow();
    test_progress();
    test_answers();
    test_pictures();
    test_scale();
    test_open();
    test_machine();
    return 0;
}
