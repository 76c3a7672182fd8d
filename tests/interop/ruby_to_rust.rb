# frozen_string_literal: true

# Ruby enqueues, Rust runs.

NUMBERS = [
  12_345_678_901_234_567,
  0.1,
  "Grüße, 世界 🚀 \"quoted\" \\ \n \u0000 end",
  {
    "amounts" => [0.1, 5.9172516468079116e-08, 1e300, 5e-324, 123_456_789.12345678, 1.7976931348623157e308],
    "ids" => [18_446_744_073_709_551_615, 9_007_199_254_740_993, 0],
    "memo" => nil,
    "lines" => [[], [1, 2], [3]],
  },
].freeze

with_rust("default:5,mailers:5") do |rust|
  check "Ruby's perform_async is run by Rust" do
    jid = Mailers::Welcome.perform_async("ada@example.com")
    run = rust.wait_for(jid)
    assert_equal "Mailers::Welcome", run.class_name, "class"
    assert_equal ["ada@example.com"], run.args, "args"
  end

  check "Ruby's perform_in is run by Rust, not before its time" do
    due = Time.now + 1.5
    jid = Mailers::Welcome.perform_in(1.5, "later@example.com")
    assert_equal jid, find(scheduled, jid).jid, "in the schedule set"
    rust.wait_for(jid)
    assert Time.now >= due, "ran before its time"
    assert_equal 0, scheduled.size, "left in the schedule set"
  end

  check "Ruby's push_bulk: 1000 jobs, each run once by Rust" do
    args = (1..1000).map { |n| ["user-#{n}@example.com"] }
    jids = Sidekiq::Client.push_bulk("class" => Mailers::Welcome, "args" => args)
    assert_equal 1000, jids.size, "pushed"
    wait_until("1000 runs") { (jids - rust.runs.map(&:jid)).empty? }
    wait_until_idle
    runs = rust.runs.select { |run| jids.include?(run.jid) }
    assert_equal args.sort, runs.map(&:args).sort, "what was run"
  end

  check "numbers, nesting and Unicode from Ruby arrive in Rust as they are" do
    jid = Ledger::Import.perform_async(*NUMBERS)
    assert_equal NUMBERS, rust.wait_for(jid).args, "args"
  end

  check "a job that Ruby put into another queue is run by Rust" do
    jid = Mailers::Welcome.set(queue: "default").perform_async("other@example.com")
    rust.wait_for(jid)
  end

  check "a job without retry, created_at and enqueued_at, as by hand, is run by Rust" do
    redis { |r| r.lpush("queue:mailers", '{"class":"Mailers::Welcome","args":["hand@example.com"],"jid":"by-hand"}') }
    rust.wait_for("by-hand")
  end

  check "Rust leaves nothing behind of jobs that are done" do
    wait_until_idle
    assert_equal [0, 0, 0], [scheduled.size, retries.size, dead.size], "schedule, retry, dead"
  end

  check "on TERM the Rust worker ends well, and takes its node's keys with it" do
    assert_equal 0, rust.stop, "exit code"
    assert_equal [], redis { |r| r.keys("inprogress:*") + r.keys("verk:node:*") + r.keys("verk_nodes") }, "keys"
  end
end
