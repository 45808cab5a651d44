/* The ends of the calls about collections. */

#include <assert.h>
#include <string.h>

#include "ipc/collection.h"
#include "ipc/request.h"

static void write_path(const Work *w, const char *name, Writer *writer)
{
    CollectionRef ref = {.uid = w->args.collection.uid};
    char path[COLLECTION_PATH_SIZE];
    const char *p = path;

    assert(strlen(name) <= LIMIT_NAME);
    strcpy(ref.name, name);
    collection_path(&ref, path);
    writer_basic(writer, DBUS_TYPE_OBJECT_PATH, &p);
}

void work_finish_opened(Work *w)
{
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        write_path(w, w->args.collection.name, &writer);
        reply = writer_end_message(&writer, reply);
    }
    work_answer(w, reply);
}

static void write_collection(Work *w, Writer *writer, const WorkCollection *c)
{
    writer_open(writer, DBUS_TYPE_STRUCT, NULL);
    writer_string(writer, c->name);
    write_path(w, c->name, writer);
    writer_open(writer, DBUS_TYPE_ARRAY, "{sv}");
    writer_entry_u64(writer, "items", c->n_items);
    writer_entry_u64(writer, "stale_items", c->n_stale);
    writer_entry_string(writer, "model", c->model);
    writer_entry_string(writer, "state", c->state);
    writer_entry_double(writer, "progress", c->progress);
    writer_close(writer);
    writer_close(writer);
}

void work_finish_collections(Work *w, const WorkCollection *list, size_t n)
{
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        writer_open(&writer, DBUS_TYPE_ARRAY, "(soa{sv})");
        for (size_t i = 0; i < n; i++)
            write_collection(w, &writer, &list[i]);
        writer_close(&writer);
        reply = writer_end_message(&writer, reply);
    }
    work_answer(w, reply);
}

void work_finish_statuses(Work *w, const ErrorCode *statuses)
{
    const CollectionArgs *c = &w->args.collection;
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        writer_open(&writer, DBUS_TYPE_ARRAY, "(su)");
        for (size_t i = 0; i < c->n_items; i++) {
            dbus_uint32_t status = statuses[i];
            writer_open(&writer, DBUS_TYPE_STRUCT, NULL);
            writer_string(&writer, c->items[i].id.data);
            writer_basic(&writer, DBUS_TYPE_UINT32, &status);
            writer_close(&writer);
        }
        writer_close(&writer);
        reply = writer_end_message(&writer, reply);
    }
    work_answer(w, reply);
}

void work_finish_count(Work *w, uint64_t n)
{
    dbus_uint32_t small = (dbus_uint32_t)n;
    dbus_uint64_t count = n;
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        if (w->args.kind == WORK_REMOVE)
            writer_basic(&writer, DBUS_TYPE_UINT32, &small);
        else
            writer_basic(&writer, DBUS_TYPE_UINT64, &count);
        reply = writer_end_message(&writer, reply);
    }
    work_answer(w, reply);
}

/* What Get and searches both tell of an item. */
static void write_common(Writer *w, const WorkRecord *r)
{
    writer_entry_string(w, "modality", r->modality);
    writer_entry_open(w, "metadata", "a{ss}");
    writer_open(w, DBUS_TYPE_ARRAY, "{ss}");
    for (size_t i = 0; i < r->n_pairs; i++) {
        writer_open(w, DBUS_TYPE_DICT_ENTRY, NULL);
        writer_string(w, r->pairs[i].key);
        writer_string(w, r->pairs[i].value);
        writer_close(w);
    }
    writer_close(w);
    writer_entry_close(w);
    if (r->text)
        writer_entry_string(w, "text", r->text);
}

void work_finish_records(Work *w, const WorkRecord *records, size_t n)
{
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        writer_open(&writer, DBUS_TYPE_ARRAY, "(sa{sv})");
        for (size_t i = 0; i < n; i++) {
            writer_open(&writer, DBUS_TYPE_STRUCT, NULL);
            writer_string(&writer, records[i].id);
            writer_open(&writer, DBUS_TYPE_ARRAY, "{sv}");
            write_common(&writer, &records[i]);
            writer_entry_bool(&writer, "stale", records[i].stale);
            writer_close(&writer);
            writer_close(&writer);
        }
        writer_close(&writer);
        reply = writer_end_message(&writer, reply);
    }
    work_answer(w, reply);
}

void work_finish_names(Work *w, const WorkRecord *records, size_t n)
{
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        writer_open(&writer, DBUS_TYPE_ARRAY, "s");
        for (size_t i = 0; i < n; i++)
            writer_string(&writer, records[i].id);
        writer_close(&writer);
        reply = writer_end_message(&writer, reply);
    }
    work_answer(w, reply);
}

void work_finish_hits(Work *w, const WorkRecord *hits, size_t n, const WorkInfo *info)
{
    DBusMessage *reply;
    Writer writer;

    work_end(w);
    reply = work_reply(w, &writer);
    if (reply) {
        writer_open(&writer, DBUS_TYPE_ARRAY, "(sda{sv})");
        for (size_t i = 0; i < n; i++) {
            writer_open(&writer, DBUS_TYPE_STRUCT, NULL);
            writer_string(&writer, hits[i].id);
            writer_basic(&writer, DBUS_TYPE_DOUBLE, &hits[i].score);
            writer_open(&writer, DBUS_TYPE_ARRAY, "{sv}");
            writer_entry_u32(&writer, "rank", hits[i].rank);
            write_common(&writer, &hits[i]);
            writer_close(&writer);
            writer_close(&writer);
        }
        writer_close(&writer);
        writer_info(&writer, info, "cosine");
        reply = writer_end_message(&writer, reply);
    }
    work_answer(w, reply);
}
