// Exercises a server through node-zookeeper-client and checks every result: client.js ADDRESS
// ends with "ok", or throws. Between its two halves it prints "restart" and waits for a line on standard input; its
// caller restarts the server then, which is the reconnect.
'use strict';

const assert = require('assert');
const { createRequire } = require('module');
const path = require('path');
const { promisify } = require('util');

const zookeeper = createRequire(path.join(process.env.NODE_CLIENT_FOLDER, 'package.json'))('node-zookeeper-client');
const { ACL, CreateMode, Event, Exception } = zookeeper;

function promised(client) {
    const calls = {};
    for (const name of ['create', 'getData', 'setData', 'remove', 'exists', 'getChildren', 'getACL', 'setACL']) {
        calls[name] = promisify(client[name].bind(client));
    }
    return calls;
}

function connect(address) {
    const client = zookeeper.createClient(address, { sessionTimeout: 30000, retries: 3 });
    return new Promise((resolve) => {
        client.once('connected', () => resolve(client));
        client.connect();
    });
}

async function refused(code, promise) {
    await assert.rejects(promise, (error) => error.getCode && error.getCode() === code);
}

async function nodes(zk) {
    assert.equal(await zk.create('/node', Buffer.from('root')), '/node');
    await refused(Exception.NODE_EXISTS, zk.create('/node'));
    await refused(Exception.NO_NODE, zk.create('/node/no/parent'));
    assert.equal((await zk.getData('/node')).toString(), 'root');
    const stat = await zk.setData('/node', Buffer.from('changed'), 0);
    assert.equal(stat.version, 1);
    await refused(Exception.BAD_VERSION, zk.setData('/node', Buffer.from('stale'), 0));
    assert.equal(await zk.create('/node/seq-', Buffer.from(''), CreateMode.PERSISTENT_SEQUENTIAL),
        '/node/seq-0000000000');
    assert.equal(await zk.create('/node/ünï', Buffer.from('ä')), '/node/ünï');
    assert.deepEqual((await zk.getChildren('/node')).sort(), ['seq-0000000000', 'ünï']);
    await refused(Exception.NOT_EMPTY, zk.remove('/node'));
    await zk.remove('/node/ünï');
    assert.equal(await zk.exists('/node/ünï'), null);
}

async function watches(client, zk) {
    const seen = [];
    const watch = (event) => seen.push([event.getName(), event.getPath()]);
    const exists = promisify((name, done) => client.exists(name, watch, done));
    const children = promisify((name, done) => client.getChildren(name, watch, (error, names) => done(error, names)));
    await exists('/node/watched');
    await zk.create('/node/watched');
    await exists('/node/watched');
    await zk.setData('/node/watched', Buffer.from('1'));
    await zk.setData('/node/watched', Buffer.from('2'));
    await children('/node/watched');
    await zk.create('/node/watched/below');
    await zk.remove('/node/watched/below');
    await exists('/node/watched');
    await zk.remove('/node/watched');
    // A reply comes after every event that preceded it.
    await zk.exists('/node');
    assert.deepEqual(seen, [
        ['NODE_CREATED', '/node/watched'], ['NODE_DATA_CHANGED', '/node/watched'],
        ['NODE_CHILDREN_CHANGED', '/node/watched'], ['NODE_DELETED', '/node/watched'],
    ]);
}

async function multi(client, zk) {
    const good = client.transaction().create('/node/multi', Buffer.from('m')).setData('/node/multi', Buffer.from('n'), 0)
        .check('/node/multi', 1).remove('/node/seq-0000000000');
    await promisify(good.commit.bind(good))();
    assert.equal((await zk.getData('/node/multi')).toString(), 'n');
    const bad = client.transaction().create('/node/never').check('/node/multi', 99).remove('/node/multi');
    await refused(Exception.BAD_VERSION, promisify(bad.commit.bind(bad))());
    assert.equal(await zk.exists('/node/never'), null);
}

async function acls(client, zk, address) {
    client.addAuthInfo('digest', Buffer.from('user:password'));
    await zk.create('/node/mine', Buffer.from('secret'), ACL.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
    const [entry] = await zk.getACL('/node/mine');
    assert.equal(entry.id.scheme, 'digest');
    assert.equal(entry.id.id, 'user:tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY=');
    const stranger = await connect(address);
    await refused(Exception.NO_AUTH, promised(stranger).getData('/node/mine'));
    stranger.close();
    await zk.setACL('/node/mine', ACL.READ_ACL_UNSAFE, 0);
}

async function ephemerals(client, zk, address) {
    const other = await connect(address);
    const gone = new Promise((resolve) => {
        promised(other).create('/node/eph', null, CreateMode.EPHEMERAL).then(() => {
            client.exists('/node/eph', resolve, (error, stat) => assert.ok(!error && stat));
            setTimeout(() => other.close(), 200);
        });
    });
    assert.equal((await gone).getType(), Event.NODE_DELETED);
}

async function reconnect(client, zk) {
    await zk.create('/node/stays', null, CreateMode.EPHEMERAL);
    const fired = new Promise((resolve) => client.getData('/node/multi', resolve, (error) => assert.ok(!error)));
    await zk.exists('/node/multi');
    const session = client.getSessionId().toString('hex');
    const connected = new Promise((resolve) => client.once('connected', resolve));
    console.log('restart');
    await new Promise((resolve) => process.stdin.once('data', resolve));
    await connected;
    assert.equal(client.getSessionId().toString('hex'), session);
    assert.ok(await zk.exists('/node/stays'), 'the ephemeral node outlives the restart');
    await zk.setData('/node/multi', Buffer.from('after'));
    assert.equal((await fired).getType(), Event.NODE_DATA_CHANGED, 'the watch is set again');
}

async function main(address) {
    const client = await connect(address);
    const zk = promised(client);
    await nodes(zk);
    await watches(client, zk);
    await multi(client, zk);
    await acls(client, zk, address);
    await ephemerals(client, zk, address);
    await reconnect(client, zk);
    client.close();
    console.log('ok');
    process.exit(0);
}

main(process.argv[2]).catch((error) => {
    console.error(error);
    process.exit(1);
});
