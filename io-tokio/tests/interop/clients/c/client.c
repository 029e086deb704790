/*
 * Exercises a server through libzookeeper_mt and checks every result: client ADDRESS
 * ends with "ok", or prints the line of the first check that failed and exits with 1.
 *
 * A second handle on the session stands for a reconnect: the library attaches to it by id and password.
 */
#define THREADED
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            printf("client.c:%d: failed: %s\n", __LINE__, #condition);            \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

/* Waits at most ten seconds for a condition that another thread makes true. */
#define AWAIT(condition)                                                          \
    do {                                                                          \
        int tries = 0;                                                            \
        while (!(condition) && tries++ < 1000) usleep(10000);                     \
        CHECK(condition);                                                         \
    } while (0)

static volatile int events;
static volatile int last_type;
static char last_path[256];

static void watcher(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh, (void)state, (void)context;
    if (type == ZOO_SESSION_EVENT) return;
    last_type = type;
    snprintf(last_path, sizeof last_path, "%s", path);
    __sync_fetch_and_add(&events, 1);
}

static zhandle_t *connect_to(const char *address, const clientid_t *id) {
    zhandle_t *zh = zookeeper_init(address, watcher, 30000, id, NULL, 0);
    CHECK(zh != NULL);
    AWAIT(zoo_state(zh) == ZOO_CONNECTED_STATE);
    return zh;
}

static void expect_event(int count, int type, const char *path) {
    AWAIT(events == count);
    CHECK(last_type == type);
    CHECK(strcmp(last_path, path) == 0);
}

static void nodes(zhandle_t *zh) {
    char path[256], data[256];
    int length = sizeof data;
    struct Stat stat;
    struct String_vector names;

    CHECK(zoo_create(zh, "/c", "root", 4, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path) == ZOK);
    CHECK(strcmp(path, "/c") == 0);
    CHECK(zoo_create(zh, "/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZNODEEXISTS);
    CHECK(zoo_create(zh, "/c/no/parent", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZNONODE);
    CHECK(zoo_get(zh, "/c", 0, data, &length, &stat) == ZOK);
    CHECK(length == 4 && memcmp(data, "root", 4) == 0);
    CHECK(stat.version == 0 && stat.dataLength == 4 && stat.czxid == stat.mzxid && stat.ephemeralOwner == 0);
    CHECK(zoo_set2(zh, "/c", "changed", 7, 0, &stat) == ZOK);
    CHECK(stat.version == 1 && stat.mzxid > stat.czxid);
    CHECK(zoo_set(zh, "/c", "stale", 5, 0) == ZBADVERSION);
    CHECK(zoo_create(zh, "/c/null", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK);
    length = sizeof data;
    CHECK(zoo_get(zh, "/c/null", 0, data, &length, NULL) == ZOK);
    CHECK(length == -1);
    CHECK(zoo_create(zh, "/c/seq-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, path, sizeof path) == ZOK);
    CHECK(strcmp(path, "/c/seq-0000000001") == 0);
    CHECK(zoo_create2(zh, "/c/two", "2", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path, &stat) == ZOK);
    CHECK(stat.dataLength == 1 && stat.pzxid == stat.czxid);
    CHECK(zoo_create2_ttl(zh, "/c/ttl", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 600000, path,
                          sizeof path, &stat) == ZOK);
    CHECK(zoo_create(zh, "/c/box", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, path, sizeof path) == ZOK);
    CHECK(zoo_get_children2(zh, "/c", 0, &names, &stat) == ZOK);
    CHECK(names.count == 5 && stat.numChildren == 5 && stat.cversion == 5);
    deallocate_String_vector(&names);
    CHECK(zoo_delete(zh, "/c", -1) == ZNOTEMPTY);
    CHECK(zoo_delete(zh, "/c/two", 4) == ZBADVERSION);
    CHECK(zoo_delete(zh, "/c/two", 0) == ZOK);
    CHECK(zoo_exists(zh, "/c/two", 0, &stat) == ZNONODE);
    CHECK(zoo_create(zh, "no-slash", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZBADARGUMENTS);
}

static void watches(zhandle_t *zh) {
    struct String_vector names;
    struct Stat stat;
    int start = events;

    CHECK(zoo_exists(zh, "/c/watched", 1, &stat) == ZNONODE);
    CHECK(zoo_create(zh, "/c/watched", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK);
    expect_event(start + 1, ZOO_CREATED_EVENT, "/c/watched");
    CHECK(zoo_exists(zh, "/c/watched", 1, &stat) == ZOK);
    CHECK(zoo_set(zh, "/c/watched", "1", 1, -1) == ZOK);
    expect_event(start + 2, ZOO_CHANGED_EVENT, "/c/watched");
    CHECK(zoo_set(zh, "/c/watched", "2", 1, -1) == ZOK);
    CHECK(zoo_get_children(zh, "/c/watched", 1, &names) == ZOK);
    deallocate_String_vector(&names);
    CHECK(zoo_create(zh, "/c/watched/below", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK);
    expect_event(start + 3, ZOO_CHILD_EVENT, "/c/watched");
    CHECK(zoo_delete(zh, "/c/watched/below", -1) == ZOK);
    CHECK(zoo_exists(zh, "/c/watched", 1, &stat) == ZOK);
    CHECK(zoo_delete(zh, "/c/watched", -1) == ZOK);
    expect_event(start + 4, ZOO_DELETED_EVENT, "/c/watched");
}

static void multi(zhandle_t *zh) {
    zoo_op_t ops[4];
    zoo_op_result_t results[4];
    char path[256];
    struct Stat stat;

    zoo_create_op_init(&ops[0], "/c/multi", "m", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_set_op_init(&ops[1], "/c/multi", "n", 1, 0, &stat);
    zoo_check_op_init(&ops[2], "/c/multi", 1);
    zoo_delete_op_init(&ops[3], "/c/seq-0000000001", -1);
    CHECK(zoo_multi(zh, 4, ops, results) == ZOK);
    CHECK(strcmp(path, "/c/multi") == 0 && stat.version == 1);
    CHECK(zoo_exists(zh, "/c/seq-0000000001", 0, &stat) == ZNONODE);

    zoo_create_op_init(&ops[0], "/c/never", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_check_op_init(&ops[1], "/c/multi", 99);
    zoo_delete_op_init(&ops[2], "/c/multi", -1);
    CHECK(zoo_multi(zh, 3, ops, results) == ZBADVERSION);
    CHECK(results[0].err == ZOK && results[1].err == ZBADVERSION && results[2].err == ZRUNTIMEINCONSISTENCY);
    CHECK(zoo_exists(zh, "/c/never", 0, &stat) == ZNONODE);
}

static volatile int auth_result = 1;

static void auth_done(int result, const void *context) {
    (void)context;
    auth_result = result;
}

static void acls(zhandle_t *zh, const char *address) {
    struct ACL_vector acl;
    struct Stat stat;
    char data[16];
    int length = sizeof data;

    CHECK(zoo_add_auth(zh, "digest", "user:password", 13, auth_done, NULL) == ZOK);
    AWAIT(auth_result == ZOK);
    CHECK(zoo_create(zh, "/c/mine", "secret", 6, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0) == ZOK);
    CHECK(zoo_get_acl(zh, "/c/mine", &acl, &stat) == ZOK);
    CHECK(acl.count == 1 && strcmp(acl.data[0].id.scheme, "digest") == 0);
    CHECK(strcmp(acl.data[0].id.id, "user:tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY=") == 0);
    deallocate_ACL_vector(&acl);
    zhandle_t *stranger = connect_to(address, NULL);
    CHECK(zoo_get(stranger, "/c/mine", 0, data, &length, NULL) == ZNOAUTH);
    CHECK(zoo_set_acl(stranger, "/c/mine", -1, &ZOO_OPEN_ACL_UNSAFE) == ZNOAUTH);
    CHECK(zoo_set_acl(zh, "/c/mine", 0, &ZOO_READ_ACL_UNSAFE) == ZOK);
    length = sizeof data;
    CHECK(zoo_get(stranger, "/c/mine", 0, data, &length, &stat) == ZOK);
    CHECK(length == 6 && stat.aversion == 1);
    CHECK(zookeeper_close(stranger) == ZOK);
}

static void sessions(zhandle_t *zh, const char *address) {
    struct Stat stat;
    zhandle_t *other = connect_to(address, NULL);
    clientid_t id = *zoo_client_id(other);
    int start = events;

    CHECK(zoo_create(other, "/c/eph", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0) == ZOK);
    CHECK(zoo_create(other, "/c/eph/child", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZNOCHILDRENFOREPHEMERALS);
    CHECK(zoo_exists(zh, "/c/eph", 1, &stat) == ZOK);
    CHECK(stat.ephemeralOwner == id.client_id);
    zhandle_t *again = connect_to(address, &id);
    CHECK(zoo_client_id(again)->client_id == id.client_id);
    CHECK(zoo_exists(again, "/c/eph", 0, &stat) == ZOK);
    CHECK(zookeeper_close(again) == ZOK);
    expect_event(start + 1, ZOO_DELETED_EVENT, "/c/eph");
    zookeeper_close(other);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *zh = connect_to(arguments[1], NULL);
    nodes(zh);
    watches(zh);
    multi(zh);
    acls(zh, arguments[1]);
    sessions(zh, arguments[1]);
    CHECK(zookeeper_close(zh) == ZOK);
    puts("ok");
    return 0;
}
