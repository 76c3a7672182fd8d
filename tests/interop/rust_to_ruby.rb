# frozen_string_literal: true

# Rust enqueues; Ruby's API reads it, and a real sidekiq runs it.

started = Time.now
jids = rust_client
mailers = Sidekiq::Queue.new("mailers")
default = Sidekiq::Queue.new("default")

check "Ruby's Queue API lists what Rust enqueued" do
  assert_equal %w[default mailers], Sidekiq::Queue.all.map(&:name).sort, "queues"
  assert_equal 2 + jids["bulk"].size, mailers.size, "size of mailers"
  assert_between 0..60, mailers.latency, "latency of the queue"
  job = mailers.find_job(jids["welcome"].first)
  assert_equal ["Mailers::Welcome", ["ada@example.com"]], [job.klass, job.args], "class and args"
  assert job.jid.match?(/\A\h{24}\z/), "jid is #{job.jid}"
  assert_between (started - 1)..(Time.now + 1), job.created_at, "created_at"
  assert_between (started - 1)..(Time.now + 1), job.enqueued_at, "enqueued_at"
  assert_between 0..60, job.latency, "latency of the job"
end

check "Ruby reads Rust's tags and retry limit" do
  job = default.find_job(jids["charge"].first)
  assert_equal ["vip"], job.tags, "tags"
  assert_equal 5, job["retry"], "retry"
end

check "Ruby's ScheduledSet lists what Rust scheduled" do
  entry = find(scheduled, jids["later"].first)
  assert_between (started + 1)..(Time.now + 3), entry.at, "at"
  assert_between (started - 1)..(Time.now + 1), entry.created_at, "created_at"
  assert_equal nil, entry["enqueued_at"], "enqueued_at"
end

check "Ruby deletes a job that Rust enqueued" do
  jid = jids["bulk"].pop
  assert mailers.find_job(jid).delete, "not deleted"
  assert_equal nil, mailers.find_job(jid), "found after it was deleted"
end

with_sidekiq(%w[mailers default]) do |ruby|
  check "Rust's enqueue is run by Ruby" do
    run = ruby.wait_for(jids["welcome"].first)
    assert_equal ["Mailers::Welcome", ["ada@example.com"]], [run.class_name, run.args], "class and args"
  end

  check "Rust's enqueue_all is run by Ruby, each job once" do
    wait_until("every run") { (jids["bulk"] - ruby.runs.map(&:jid)).empty? }
    assert_equal jids["bulk"].sort, ruby.runs.map(&:jid).select { |jid| jids["bulk"].include?(jid) }.sort, "what was run"
  end

  check "Rust's enqueue of a class that only Ruby has is run by Ruby" do
    assert_equal ["annual", 2026], ruby.wait_for(jids["print"].first).args, "args"
  end

  check "numbers, nesting and Unicode from Rust arrive in Ruby as they are" do
    expected = [
      12_345_678_901_234_567,
      0.1,
      "Grüße, 世界 🚀",
      {
        "amounts" => [0.1, 1e300, 123_456_789.12345678],
        "ids" => [18_446_744_073_709_551_615],
        "memo" => nil,
        "lines" => [[], [1, 2]],
      },
    ]
    assert_equal expected, ruby.wait_for(jids["import"].first).args, "args"
  end

  check "Rust's schedule_in is run by Ruby, not before its time" do
    ruby.wait_for(jids["later"].first)
    assert Time.now >= started + 2, "ran before its time"
  end
end
flush

jids = rust_client
with_sidekiq(%w[mailers default], "FAIL" => "1") do |ruby|
  check "Rust's retry_queue and retry_for are obeyed by Ruby" do
    patient = jids["patient"].first
    ruby.wait_for(patient)
    entry = wait_until("the retry") { retries.find_job(patient) }
    assert_equal ["default", 172_800], entry.item.values_at("queue", "retry_for"), "queue, retry_for"
  end

  check "Rust's retry limits are obeyed by Ruby: never, and so many times" do
    charge, once = jids.values_at("charge", "once").map(&:first)
    [charge, once].each { |jid| ruby.wait_for(jid) }
    assert_equal 5, wait_until("the retry") { retries.find_job(charge) }["retry"], "retry"
    wait_until("all queues to be empty") { Sidekiq::Stats.new.enqueued.zero? }
    assert_equal [nil, nil], [retries.find_job(once), dead.find_job(once)], "retry, dead"
  end
end
