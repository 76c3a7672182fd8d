# frozen_string_literal: true

# A class that the other side lacks: the side that fetches such a job keeps it, and its own side
# runs it later.

# Which of the classes a Sidekiq process has, and the error that it then gives a job.
WITHOUT = { "none" => "NameError", "broken" => "RuntimeError" }.freeze

# Jobs without a retry limit, written by hand, as programs wrote them that set no `retry`.
def push_by_hand(jid, *args)
  job = { "class" => "Payments::Charge", "args" => args, "jid" => jid, "queue" => "default" }
  redis { |r| r.lpush("queue:default", JSON.generate(job)) }
  jid
end

# Waits until each of these has failed for that reason and was kept, and returns the kept jobs. The
# program may already retry the first while it fetches the last, so they need not be kept at the
# same time.
def wait_until_kept(jids, error)
  kept = {}
  wait_until("#{jids.size} retries") do
    failed = retries.select { |entry| jids.include?(entry.jid) && entry["error_class"] == error }
    failed.each { |entry| kept[entry.jid] ||= entry.item }
    kept.size == jids.size
  end
  kept
end

WITHOUT.each do |classes, error|
  flush
  limited = %w[charge patient]
  jids = rust_client
  once = jids.delete("once").first # it asks for no retry
  all = jids.values.flatten

  with_sidekiq(%w[mailers default], "CLASSES" => classes) do
    check "CLASSES=#{classes}: Ruby keeps what Rust enqueued, scheduled and enqueued in bulk, and loses nothing" do
      kept = wait_until_kept(all, error)
      assert_equal nil, retries.find_job(once), "the job that asked for no retry"
      no_limit = all - jids.values_at(*limited).flatten
      assert_equal [true], kept.values_at(*no_limit).map { |item| item["retry"] }.uniq, "retry"
    end
  end

  with_rust("default:5,mailers:5") do |rust|
    check "CLASSES=#{classes}: then Rust runs each of them" do
      print = jids.delete("print")
      retries.each { |entry| entry.delete if print.include?(entry.jid) } # Rust lacks that class
      all -= print
      retries.retry_all
      wait_until("every run") { (all - rust.runs.map(&:jid)).empty? }
    end
  end
end

# A retry that Rust wrote is moved by Sidekiq from `retry`, and by Rust from its own set.
{ {} => "retry", { "VERK_SCHEDULE_KEYS" => "own" } => "verk:retry" }.each do |keys, set|
  flush
  jid = push_by_hand("by-hand", 5000, 3)
  job = -> { redis { |r| r.zrange(set, 0, -1) }.first }

  with_rust("default:5", keys) do |rust|
    check "a job without retry that failed in Rust says in #{set} that it is retried" do
      rust.wait_for(jid)
      written = JSON.parse(wait_until("the retry") { job.call })
      assert_equal true, written["retry"], "retry"
    end
  end

  check "Ruby keeps the retry in #{set} of a class that it lacks" do
    # Rust runs another queue, and only moves what is due.
    with_rust("other:1", keys) do
      with_sidekiq(%w[default], "CLASSES" => "none") do
        redis { |r| r.zadd(set, Time.now.to_f - 1, job.call) }
        entry = wait_until("the retry of Ruby") { retries.find_job(jid)&.then { |e| e if e["retry_count"] == 1 } }
        assert_equal "NameError", entry["error_class"], "error_class"
      end
    end
  end

  with_rust("default:5") do |rust|
    check "and Rust runs it, as the third attempt" do
      make_due(retries, jid)
      assert_equal [5000, 3], rust.wait_for(jid).args, "args"
      wait_until_idle
      assert_equal nil, retries.find_job(jid), "in the retry set"
    end
  end
end
flush

jids = nil
with_rust("default:5") do
  check "Rust keeps jobs of a class that only Ruby has: performed, scheduled and in bulk" do
    bulk = Sidekiq::Client.push_bulk("class" => Reports::Print, "args" => (1..20).map { |n| [n] })
    jids = [Reports::Print.perform_async("now"), Reports::Print.perform_in(1.5, "later"), *bulk]
    kept = wait_until_kept(jids, "UnknownClass")
    assert_equal [[0, true]], kept.values.map { |item| item.values_at("retry_count", "retry") }.uniq, "retry_count, retry"
  end

  check "Rust keeps their retries" do
    retries.each { |entry| make_due(retries, entry.jid) }
    wait_until("the second failures") { retries.size == jids.size && retries.all? { |entry| entry["retry_count"] == 1 } }
  end
end

with_sidekiq(%w[default]) do |ruby|
  check "then Ruby runs each of them" do
    retries.retry_all
    wait_until("every run") { (jids - ruby.runs.map(&:jid)).empty? }
    assert_equal 0, retries.size, "retries"
  end
end
